//! What a node says of itself: its metrics, and whether it is ready.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

use crate::node::{Got, Node};

const SYNCS: &str = "cloakroom_disk_sync_duration_seconds_count";

/// What a text of metrics says of one of them.
fn figure(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[tokio::test]
async fn metrics_have_our_prefix_a_help_text_and_no_label_that_clients_choose() {
    let node = Node::start();
    node.post("/v1/pools", r#"{"name":"secret-pool","size":9}"#).await;
    node.post("/v1/pools/secret-pool/allocations", r#"{"tag":"secret-tag"}"#).await;
    for method in ["WORTHLESS-1", "WORTHLESS-2"] {
        assert_eq!(node.ask(method, "/livez", &[], "").await.problem(), "method-not-allowed");
    }
    assert_eq!(node.get("/worthless").await.problem(), "no-such-path");
    let elsewhere = [("host", "worthless.example")];
    assert_eq!(node.ask("GET", "/v1/pools", &elsewhere, "").await.problem(), "wrong-host");
    let text = String::from_utf8(node.get("/metrics").await.body.to_vec()).unwrap();
    assert!(!text.contains("secret") && !text.to_lowercase().contains("worthless"), "{text}");
    assert!(
        text.contains(
            r#"cloakroom_http_requests_total{method="OTHER",path="/livez",status="405"} 2"#
        ),
        "{text}"
    );
    assert!(text.contains(
        r#"cloakroom_http_requests_total{method="POST",path="/v1/pools/{pool}/allocations",status="201"} 1"#
    ), "{text}");
    for refused in [r#"path="/v1/pools",status="421"} 1"#, r#"path="OTHER",status="404"} 1"#] {
        assert!(text.contains(refused), "{text}");
    }
    // An id was written down before it was handed out.
    let figure = |name| figure(&text, name);
    let syncs = figure(SYNCS);
    assert!(syncs >= 2.0 && figure("cloakroom_disk_sync_duration_seconds_sum") > 0.0, "{text}");
    assert!(figure("cloakroom_disk_entries_written_total") >= syncs, "{text}");
    assert!(figure("cloakroom_disk_written_bytes_total") > 40.0 * syncs, "{text}");
    for line in text.lines() {
        let name = line.trim_start_matches("# ").split(' ');
        let name = name.clone().find(|word| !["HELP", "TYPE", "UNIT"].contains(word)).unwrap();
        assert!(name.starts_with("cloakroom_"), "{line}");
    }
    let types = text.lines().filter(|line| line.starts_with("# TYPE "));
    for line in types {
        let name = line.split(' ').nth(2).unwrap();
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help text");
    }
}

/// Names of families by what they are, and the samples without their values.
fn families(text: &str) -> (BTreeMap<&str, &str>, BTreeSet<&str>) {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    (types.collect(), samples.map(|line| line.rsplit_once(' ').unwrap().0).collect())
}

#[tokio::test]
async fn metrics_are_told_as_openmetrics_to_whoever_asks_for_that_and_else_as_prometheus_has_them()
{
    let node = Node::start();
    node.post("/v1/pools", r#"{"name":"p","size":9}"#).await;
    node.post("/v1/pools/p/allocations", r#"{"tag":"ann"}"#).await;
    let metrics = async |accept: &str| node.ask("GET", "/metrics", &[("accept", accept)], "").await;
    // What it counts of itself is there in both.
    metrics("*/*").await;
    let newer = metrics("application/openmetrics-text; version=1.0.0").await;
    let older = metrics("text/html, */*;q=0.1").await;
    let kind = |got: &Got| got.headers["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind(&newer), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(kind(&older), "text/plain; version=0.0.4; charset=utf-8");
    assert!([&newer, &older].iter().all(|got| got.headers["vary"] == "accept"));
    let [newer, older] = [newer, older].map(|got| String::from_utf8(got.body.to_vec()).unwrap());
    assert!(newer.ends_with("\n# EOF\n") && newer.contains("\n# UNIT "), "{newer}");
    assert!(!older.contains("# EOF") && !older.contains("# UNIT "), "{older}");
    let (types, samples) = families(&older);
    assert_eq!(samples, families(&newer).1);
    for sample in samples {
        let name = sample.split('{').next().unwrap();
        let ends = ["_bucket", "_sum", "_count"].into_iter();
        let mut bases = ends.filter_map(|end| name.strip_suffix(end));
        match types.get(name) {
            Some(&"counter") => assert!(name.ends_with("_total"), "{name}"),
            Some(&"gauge") => {}
            _ => {
                let is_histogram = bases.any(|base| types.get(base) == Some(&"histogram"));
                assert!(is_histogram, "{name}: no type");
            }
        }
        assert!(!name.ends_with("_total") || types.contains_key(name), "{name}");
    }
}

/// Also when its disk has failed.
#[tokio::test]
async fn a_node_tells_what_has_happened_the_newest_first_and_without_names() {
    let mut node = Node::start();
    node.post("/v1/pools", r#"{"name":"secret-pool","size":9}"#).await;
    node.post("/v1/pools/secret-pool/allocations", r#"{"tag":"secret-tag"}"#).await;
    let own = node.get("/v1/cluster").await.json()["node"].clone();
    assert_eq!(node.get("/v1/cluster/events?limit=0").await.problem(), "malformed");
    assert_eq!(node.get("/v1/cluster/events?limit=257").await.problem(), "malformed");
    let (app, router) = (node.app(), node.router());
    app.leave();
    let watching = tokio::spawn(app.watch());
    node.stop().await;
    watching.await.unwrap();
    let last = async |most: usize| {
        let path = format!("/v1/cluster/events?limit={most}");
        let request = Request::get(path).body(Body::empty()).unwrap();
        Node::send_to(router.clone(), request).await
    };
    let told = last(256).await;
    assert!(!String::from_utf8_lossy(&told.body).contains("secret"), "{told:?}");
    let told = told.json();
    let events = told["events"].as_array().unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["disk_failed", "leaving", "started"]);
    assert!(events.iter().all(|event| event["node"] == own && event["at_ms"].is_u64()), "{told}");
    assert_eq!(last(1).await.json()["events"].as_array().unwrap().as_slice(), &events[..1]);
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_why_and_when_to_ask_again() {
    let mut node = Node::start();
    let router = node.router();
    node.stop().await;
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let got = router.clone().oneshot(request).await.unwrap();
    let body = got.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("\ncloakroom_disk_failed 1\n"), "{body:?}");
    let request = Request::get("/readyz?verbose").body(Body::empty()).unwrap();
    let got = router.oneshot(request).await.unwrap();
    assert_eq!(
        (got.status().as_u16(), &got.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    let body = got.into_body().collect().await.unwrap().to_bytes();
    let ready: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&ready["ready"], &ready["checks"][0]["name"]), (&json!(false), &json!("node")));
    assert!(ready["checks"][0]["detail"].is_string(), "{ready}");
}
