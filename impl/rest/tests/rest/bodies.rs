//! Bodies that are slow, large or many.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::request::Builder;
use axum::http::{Request, StatusCode};
use hyper::body::Frame;
use tokio::task::JoinSet;
use tokio::time::Interval;

use crate::node::Node;
use crate::{ABSENT, JSON};

/// A body that never comes.
struct Never;

impl HttpBody for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// A byte every so often, for ever.
struct Dripping(Interval);

impl HttpBody for Dripping {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_tick(context).map(|_| Some(Ok(Frame::data(Bytes::from_static(b" ")))))
    }
}

fn slow() -> [(Builder, u64); 3] {
    [
        (Request::put("/v1/keys/k").header(ABSENT.0, ABSENT.1), 10),
        (Request::post("/v1/pools").header(JSON.0, JSON.1), 10),
        (Request::post("/v1/pools/p/recover").header(JSON.0, JSON.1), 60),
    ]
}

/// After how many seconds it is answered that it is too slow.
async fn given_up(node: &Arc<Node>, request: Request<Body>, expected: u64) -> u64 {
    let node = Arc::clone(node);
    let late = tokio::spawn(async move { node.send(request).await });
    let mut seconds = 0;
    while !late.is_finished() {
        assert!(seconds < 100, "it waits for ever");
        // It may see some of them late.
        tokio::time::advance(Duration::from_secs(1)).await;
        seconds += 1;
    }
    let late = late.await.unwrap();
    assert_eq!((late.status.as_u16(), late.problem().as_str()), (408, "too-slow"));
    let detail = format!("body: expected all of it within {expected} s");
    assert_eq!(late.json()["detail"], detail);
    seconds
}

#[tokio::test(start_paused = true)]
async fn a_body_that_pauses_for_too_long_is_said_to_be_too_slow() {
    let node = Arc::new(Node::start());
    for (request, expected) in slow() {
        let seconds = given_up(&node, request.body(Body::new(Never)).unwrap(), expected).await;
        assert!((expected..expected + 5).contains(&seconds), "after {seconds} s");
    }
}

/// Else its sender held a request's place for days.
#[tokio::test(start_paused = true)]
async fn a_body_that_comes_byte_by_byte_is_given_up_as_one_that_does_not_come() {
    let node = Arc::new(Node::start());
    for (request, expected) in slow() {
        let body = Dripping(tokio::time::interval(Duration::from_secs(9)));
        let seconds = given_up(&node, request.body(Body::new(body)).unwrap(), expected).await;
        assert!((expected..expected + 5).contains(&seconds), "after {seconds} s");
    }
}

#[tokio::test]
async fn requests_under_way_are_bounded_and_others_are_told_so_at_once() {
    let node = Arc::new(Node::start());
    let mut slow = JoinSet::new();
    for _ in 0..1024 {
        let node = Arc::clone(&node);
        slow.spawn(async move {
            let request = Request::put("/v1/keys/k").header(ABSENT.0, ABSENT.1);
            node.send(request.body(Body::new(Never)).unwrap()).await
        });
    }
    // Until all have been begun: each turn of ours lets some of them have theirs.
    let mut turns = 0;
    let shed = loop {
        let got = node.get("/version").await;
        turns += 1;
        if got.status != StatusCode::OK {
            break got;
        }
        assert!(turns < 10_000, "1,024 are under way, and one more is taken");
        tokio::task::yield_now().await;
    };
    assert_eq!((shed.problem().as_str(), shed.status.as_u16()), ("overloaded", 503));
    assert_eq!(node.get("/livez").await.status, StatusCode::OK, "it lives, and says so");
    slow.shutdown().await;
    assert_eq!(node.get("/version").await.status, StatusCode::OK);
}

/// Four bodies that do not say how large they are, are on their way: another such waits for none of them, a small one has room.
#[tokio::test]
async fn large_bodies_share_a_bounded_room_and_one_more_is_told_so_at_once() {
    let node = Arc::new(Node::start());
    node.post("/v1/pools", r#"{"name":"p","size":9}"#).await;
    let large = || Request::post("/v1/pools/p/recover").header(JSON.0, JSON.1);
    let mut slow = JoinSet::new();
    for _ in 0..5 {
        let node = Arc::clone(&node);
        let request = large().body(Body::new(Never)).unwrap();
        slow.spawn(async move { node.send(request).await });
    }
    // Four wait for their bodies, which never come.
    let shed = slow.join_next().await.unwrap().unwrap();
    assert_eq!((shed.problem().as_str(), shed.status.as_u16()), ("overloaded", 503));
    let small = || {
        node.ask("POST", "/v1/pools/p/recover", &[JSON, ("content-length", "11")], r#"{"dead":[]}"#)
    };
    assert_eq!(small().await.status, StatusCode::OK);
    slow.shutdown().await;
    assert_eq!(small().await.status, StatusCode::OK);
}
