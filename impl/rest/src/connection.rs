//! One connection of a client: its handshake, its requests, its end.
//!
//! Invariants:
//! * REST-3: who is slow with a handshake, the head of a request or the bytes of an answer is cut off;
//! * REST-5: what was shown in the handshake is known to whoever answers a request;
//! * when it must end, what is under way is answered, as long as that takes no longer than [`LAST_WORDS`].
//!
//! What it does not do: count; `gate.rs` does.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::caller::Caller;
use crate::gate::Place;
use crate::patient::Patient;
use crate::tls::Tls;

/// From the first byte of a head to its last, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Of requests under way when the end has come.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(10);

/// Answers what comes from a socket, until the client goes or it must end.
pub(crate) async fn attend(
    stream: TcpStream,
    from: SocketAddr,
    tls: Option<Tls>,
    router: Router,
    place: Place,
    mut ending: watch::Receiver<bool>,
) {
    let place = Arc::new(place);
    // Only answers are slower without it.
    let _ = stream.set_nodelay(true);
    let address = from.ip().to_canonical();
    let stream = Patient::new(stream);
    let held = Arc::clone(&place);
    let ended = async move {
        tokio::select! {
            // Also when whoever would say so has gone.
            _ = ending.wait_for(|is_over| *is_over) => {}
            () = held.is_needed() => {}
        }
    };
    tokio::pin!(ended);
    let Some(tls) = tls else {
        let caller = Caller::on_loopback(address);
        return converse(stream, caller, router, place, ended, pending()).await;
    };
    let greeted = tokio::select! {
        greeted = tls.greet(stream) => greeted,
        () = ended.as_mut() => return,
    };
    match greeted {
        Ok((stream, proof, rights)) => {
            let caller = Caller::over_https(address, proof.as_ref());
            converse(stream, caller, router, place, ended, rights.end()).await;
        }
        Err(cause) => warn!(address = %from, %cause, "refused a client"),
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    caller: Caller,
    router: Router,
    place: Arc<Place>,
    ended: impl Future<Output = ()>,
    without_rights: impl Future<Output = ()>,
) {
    let address = caller.address;
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        let (busy, router) = (place.busy(), router.clone());
        async move {
            let response = router.oneshot(request).await;
            drop(busy);
            response
        }
    });
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => Some(done),
        () = ended => None,
        () = without_rights => None,
    };
    let done = if let Some(done) = done {
        Ok(done)
    } else {
        connection.as_mut().graceful_shutdown();
        tokio::time::timeout(LAST_WORDS, connection).await
    };
    match done {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%address, %error, "a connection has broken"),
        Err(_) => warn!(%address, "requests were under way for too long and are cut off"),
    }
}
