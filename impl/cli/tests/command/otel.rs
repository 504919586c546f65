//! Traces for a collector: only with the feature `otel`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use crate::binary::Desk;
use crate::serving::Serving;

#[test]
fn the_traces_of_requests_go_to_the_collector_that_is_named() {
    let desk = Desk::new();
    desk.fails("serve --otlp collector:4318", 2, "expected http://HOST:PORT");
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = collector.local_addr().unwrap();
    let (told, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in collector.incoming().flatten() {
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            while let Ok(length @ 1..) = stream.read(&mut piece) {
                request.extend_from_slice(&piece[..length]);
                if String::from_utf8_lossy(&request).contains("/v1/pools") {
                    break;
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            // The test may be over.
            let _ = told.send(String::from_utf8_lossy(&request).into_owned());
        }
    });
    let line = format!("serve --http 127.0.0.1:0 --otlp http://{address}");
    let mut serving = Serving::of(&desk, &line);
    serving.shell("curl -fsS localhost:8420/v1/pools");
    // What waits is sent at its end.
    assert_eq!(serving.signal("-TERM").code(), Some(0));
    let request = heard.recv_timeout(Duration::from_mins(1)).expect("a request");
    assert!(request.starts_with("POST /v1/traces HTTP/1.1"), "{request}");
    assert!(request.contains("cloakroom") && request.contains("/v1/pools"), "{request}");
}
