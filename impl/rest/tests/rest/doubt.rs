//! Operations whose first attempt has had an unknown outcome. A bound beside an operation id says so, to a node
//! that remembers nothing of it.

use serde_json::{Value, json};

use crate::node::{Got, Node};
use crate::{JSON, OPERATION};

const POOLS: &str = "/v1/pools";
const POOL: &str = r#"{"name":"p","size":9}"#;

/// Sends it as what comes again, bound to this number.
async fn again(node: &Node, method: &str, path: &str, bound: &str, body: &str) -> Got {
    node.ask(method, path, &[JSON, OPERATION, ("cloakroom-bound", bound)], body).await
}

/// REST-2: it is not said to be not done, and it is as bound as before.
fn assert_unknown(got: &Got, bound: u64, words: &str) {
    assert_eq!((got.status.as_u16(), got.problem().as_str()), (504, "outcome-unknown"), "{got:?}");
    let Value::Object(problem) = got.json() else { panic!("{got:?}") };
    assert_eq!((&problem["outcome"], &problem["bound"]), (&json!("unknown"), &json!(bound)));
    assert!(problem["detail"].as_str().unwrap().contains(words), "{problem:?}");
}

#[tokio::test]
async fn a_creation_in_doubt_is_seen_to_have_made_the_pool_of_its_number_and_makes_no_second_one() {
    let mut node = Node::start();
    let nothing = again(&node, "POST", POOLS, "1", POOL).await;
    assert_unknown(&nothing, 1, "there is no \"p\"");
    assert_eq!(node.get(POOLS).await.json()["pools"], json!([]), "it is not made now");
    let made = node.post(POOLS, POOL).await;
    assert_eq!(made.json()["number"], 1);
    // Of the same operation, and of one of which the node knows nothing.
    for _ in 0..2 {
        let seen = again(&node, "POST", POOLS, "1", POOL).await;
        assert_eq!((seen.status.as_u16(), seen.json()), (201, made.json()));
        node.restart().await;
    }
    node.ask("DELETE", "/v1/pools/p", &[], "").await;
    node.post(POOLS, POOL).await;
    let other = again(&node, "POST", POOLS, "1", POOL).await;
    assert_unknown(&other, 1, "\"p\" has the number");
}

#[tokio::test]
async fn a_deletion_in_doubt_removes_the_pool_of_its_number_and_no_other() {
    let node = Node::start();
    let path = "/v1/pools/p";
    assert_unknown(&again(&node, "DELETE", path, "1", "").await, 1, "has removed it");
    node.post(POOLS, POOL).await;
    node.post("/v1/pools/p/allocations", r#"{"tag":"t"}"#).await;
    assert_unknown(&again(&node, "DELETE", path, "1", "").await, 1, "no id is held");
    node.ask("DELETE", "/v1/pools/p/allocations/0?tag=t", &[], "").await;
    let removed = again(&node, "DELETE", path, "1", "").await;
    assert_eq!((removed.status.as_u16(), &removed.json()["number"]), (200, &json!(1)));
    node.post(POOLS, POOL).await;
    let other = ("cloakroom-operation", "ff112233445566778899aabbccddeeff");
    let late = node.ask("DELETE", path, &[other, ("cloakroom-bound", "1")], "").await;
    assert_unknown(&late, 1, "has removed it");
    assert_eq!(node.get(path).await.json()["number"], 2, "the later one of this name stays");
}

#[tokio::test]
async fn a_free_in_doubt_is_not_told_that_it_has_done_nothing() {
    let node = Node::start();
    let path = "/v1/pools/p/allocations/0?tag=t";
    assert_unknown(&again(&node, "DELETE", path, "0", "").await, 0, "got \"p\"");
    node.post(POOLS, POOL).await;
    node.post("/v1/pools/p/allocations", r#"{"tag":"other"}"#).await;
    let held = again(&node, "DELETE", path, "0", "").await;
    assert_unknown(&held, 0, "held under another tag now");
    node.ask("DELETE", "/v1/pools/p/allocations/0?tag=other", &[], "").await;
    let freed = again(&node, "DELETE", path, "0", "").await;
    assert_eq!(freed.json()["outcome"], "already_free");
}

#[tokio::test]
async fn an_allocation_in_doubt_takes_no_id_also_when_its_pool_is_not_there_for_a_while() {
    let node = Node::start();
    let (path, body) = ("/v1/pools/p/allocations", r#"{"tag":"t"}"#);
    assert_unknown(&again(&node, "POST", path, "0", body).await, 0, "got \"p\"");
    node.post(POOLS, POOL).await;
    // It remembers the doubt: without the bound it is as bound.
    let unbound = node.ask("POST", path, &[JSON, OPERATION], body).await;
    assert_unknown(&unbound, 0, "holds no id yet");
    assert_eq!(node.get("/v1/pools/p/usage").await.json()["held"], 0);
    node.post(path, body).await;
    let found = again(&node, "POST", path, "0", body).await;
    assert_eq!((found.status.as_u16(), &found.json()["id"]), (201, &json!(0)));
}

#[tokio::test]
async fn what_is_harmless_and_in_doubt_is_not_told_that_it_has_done_nothing() {
    let node = Node::start();
    let (path, body) = ("/v1/pools/p/recover", r#"{"dead":["t"]}"#);
    assert_unknown(&again(&node, "POST", path, "0", body).await, 0, "got \"p\"");
    node.post(POOLS, POOL).await;
    let done = node.ask("POST", path, &[JSON, OPERATION], body).await;
    assert_eq!((done.status.as_u16(), &done.json()["held"]), (200, &json!(0)));
}
