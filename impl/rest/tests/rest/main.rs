//! The API of a cluster of one: what it answers, what it remembers, what it refuses.

mod bodies;
mod doubt;
// One half of it is used by the other tests.
#[allow(dead_code)]
mod node;
mod watched;

use std::net::SocketAddr;

use axum::http::StatusCode;
use node::Node;
use serde_json::json;

const OPERATION: (&str, &str) = ("cloakroom-operation", "00112233445566778899aabbccddeeff");
const JSON: (&str, &str) = ("content-type", "application/json");
const ABSENT: (&str, &str) = ("if-none-match", "*");

#[tokio::test]
async fn a_key_is_put_if_absent_compared_set_and_removed_and_its_version_never_falls() {
    let mut node = Node::start();
    assert_eq!(node.get("/v1/keys/coat").await.problem(), "no-such-key");
    let put = node.ask("PUT", "/v1/keys/coat", &[ABSENT], "red").await;
    assert_eq!((put.status, put.etag()), (StatusCode::OK, "\"1\""));
    let again = node.ask("PUT", "/v1/keys/coat", &[ABSENT], "blue").await;
    assert_eq!((again.problem().as_str(), again.json()["version"].as_u64()), ("mismatch", Some(1)));
    let set = node.ask("PUT", "/v1/keys/coat", &[("if-match", "\"1\"")], "blue").await;
    assert_eq!(set.json(), json!({ "version": 2 }));
    let stale = node.ask("DELETE", "/v1/keys/coat", &[("if-match", "\"1\"")], "").await;
    assert_eq!(stale.problem(), "mismatch");
    node.restart().await;
    let got = node.get("/v1/keys/coat").await;
    assert_eq!((&got.body[..], got.etag()), (&b"blue"[..], "\"2\""));
    let removed = node.ask("DELETE", "/v1/keys/coat", &[("if-match", "\"2\"")], "").await;
    assert_eq!(removed.status, StatusCode::OK);
    assert_eq!(node.get("/v1/keys/coat").await.status, StatusCode::NOT_FOUND);
    let put = node.ask("PUT", "/v1/keys/coat", &[ABSENT], "red").await;
    assert_eq!(put.etag(), "\"4\"", "it goes on rising through absence");
    let blind = node.ask("PUT", "/v1/keys/coat", &[], "green").await;
    assert_eq!(blind.problem(), "precondition-required");
}

#[tokio::test]
async fn ids_are_handed_out_freed_listed_and_recovered_and_survive_a_restart() {
    let mut node = Node::start();
    let made = node.post("/v1/pools", r#"{"name":"ports","size":5,"fanout":2,"block":2}"#).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(
        node.post("/v1/pools", r#"{"name":"ports","size":5}"#).await.problem(),
        "pool-exists"
    );
    for (number, tag) in ["web-1", "web-2", "db-1", "web-3", "db-2"].iter().enumerate() {
        let body = json!({ "tag": tag }).to_string();
        let taken = node.post("/v1/pools/ports/allocations", &body).await;
        assert_eq!(taken.json(), json!({ "id": number, "tag": tag }));
    }
    let full = node.post("/v1/pools/ports/allocations", r#"{"tag":"late"}"#).await;
    assert_eq!(
        (full.problem().as_str(), full.json()["outcome"].as_str()),
        ("pool-full", Some("none"))
    );
    node.restart().await;
    let usage = node.get("/v1/pools/ports/usage").await.json();
    assert_eq!(usage, json!({ "pool": "ports", "size": 5, "held": 5, "free": 0 }));
    let other = node.ask("DELETE", "/v1/pools/ports/allocations/0?tag=web-2", &[], "").await;
    assert_eq!(other.problem(), "not-owner");
    for outcome in ["freed", "already_free"] {
        let freed = node.ask("DELETE", "/v1/pools/ports/allocations/0?tag=web-1", &[], "").await;
        assert_eq!(freed.json(), json!({ "id": 0, "outcome": outcome }));
    }
    let found = node.get("/v1/pools/ports/allocations?tag=db-1").await.json();
    assert_eq!(found["allocations"], json!([{ "id": 2, "tag": "db-1" }]));
    let page = node.get("/v1/pools/ports/allocations?prefix=web&limit=1").await.json();
    assert_eq!(page, json!({ "allocations": [{ "id": 1, "tag": "web-2" }], "next": 1 }));
    let page = node.get("/v1/pools/ports/allocations?prefix=web&limit=1&after=1").await.json();
    assert_eq!(page, json!({ "allocations": [{ "id": 3, "tag": "web-3" }], "next": null }));
    let dead = r#"{"dead":["db-1","db-2","nobody"],"dry_run":true}"#;
    let would = node.post("/v1/pools/ports/recover", dead).await.json();
    assert_eq!((would["freed"].as_array().unwrap().len(), would["held"].as_u64()), (2, Some(4)));
    let done = node.post("/v1/pools/ports/recover", &dead.replace("true", "false")).await.json();
    assert_eq!(done["held"], 2);
    assert_eq!(done["freed"], would["freed"]);
    let used = node.ask("DELETE", "/v1/pools/ports", &[], "").await;
    assert_eq!(used.problem(), "pool-in-use");
    node.post("/v1/pools/ports/recover", r#"{"dead":["web-2","web-3"]}"#).await;
    assert_eq!(node.ask("DELETE", "/v1/pools/ports", &[], "").await.status, StatusCode::OK);
    assert_eq!(node.get("/v1/pools/ports").await.problem(), "no-such-pool");
    let anew = node.post("/v1/pools", r#"{"name":"ports","size":5}"#).await.json();
    assert_eq!(anew["number"], 2, "never the number of the one that is gone");
}

#[tokio::test]
async fn a_request_that_comes_again_with_its_operation_id_is_not_carried_out_again() {
    let node = Node::start();
    node.post("/v1/pools", r#"{"name":"p","size":9}"#).await;
    let tag = r#"{"tag":"web"}"#;
    let first = node.ask("POST", "/v1/pools/p/allocations", &[JSON, OPERATION], tag).await;
    let again = node.ask("POST", "/v1/pools/p/allocations", &[JSON, OPERATION], tag).await;
    assert_eq!((first.json(), &first.body), (json!({ "id": 0, "tag": "web" }), &again.body));
    assert_eq!(again.headers["cloakroom-operation"], OPERATION.1);
    assert_eq!(node.get("/v1/pools/p/usage").await.json()["held"], 1);
    let other =
        node.ask("POST", "/v1/pools/p/allocations", &[JSON, OPERATION], r#"{"tag":"db"}"#).await;
    assert_eq!(other.problem(), "operation-reused");
    let without = node.ask("POST", "/v1/pools/p/allocations", &[JSON], tag).await;
    assert_eq!(without.json()["id"], 1, "two allocations without an id are two");
}

/// The node has restarted meanwhile, and remembers nothing: the bound says what came before.
#[tokio::test]
async fn a_bound_attempt_is_carried_out_at_most_once_by_a_node_that_remembers_nothing() {
    let mut node = Node::start();
    let put = node.ask("PUT", "/v1/keys/k", &[ABSENT, OPERATION], "mine").await;
    assert_eq!(put.etag(), "\"1\"");
    node.restart().await;
    let bound = ("cloakroom-bound", "0");
    let again = node.ask("PUT", "/v1/keys/k", &[ABSENT, OPERATION, bound], "mine").await;
    assert_eq!(again.json(), json!({ "version": 1 }), "it is seen to have happened");
    node.ask("DELETE", "/v1/keys/k", &[("if-match", "\"1\"")], "").await;
    node.restart().await;
    let late = node.ask("PUT", "/v1/keys/k", &[ABSENT, OPERATION, bound], "mine").await;
    assert_eq!((late.status.as_u16(), late.problem().as_str()), (504, "outcome-unknown"));
    assert_eq!(
        (late.json()["outcome"].as_str(), late.json()["bound"].as_u64()),
        (Some("unknown"), Some(0))
    );
    assert_eq!(node.get("/v1/keys/k").await.status, StatusCode::NOT_FOUND, "not a second time");
}

#[tokio::test]
async fn whatever_is_wrong_is_a_problem_with_a_stable_type() {
    let node = Node::start();
    node.post("/v1/pools", r#"{"name":"p","size":9}"#).await;
    let large = "x".repeat(65_537);
    let cases = [
        ("GET", "/v2", &[][..], "", "no-such-path"),
        ("PATCH", "/v1/pools", &[], "", "method-not-allowed"),
        ("POST", "/v1/pools", &[JSON], "{", "malformed"),
        ("POST", "/v1/pools", &[JSON], r#"{"name":"a","size":1.5}"#, "malformed"),
        ("POST", "/v1/pools", &[JSON], r#"{"name":"-","size":1}"#, "malformed"),
        ("POST", "/v1/pools", &[JSON], r#"{"name":"a","size":0}"#, "malformed"),
        ("POST", "/v1/pools", &[JSON], r#"{"name":"a","size":1,"colour":1}"#, "malformed"),
        ("GET", "/v1/pools?limit=0", &[], "", "malformed"),
        ("GET", "/v1/pools/none/usage", &[], "", "no-such-pool"),
        ("POST", "/v1/pools/p/allocations", &[JSON], r#"{"tag":""}"#, "malformed"),
        ("DELETE", "/v1/pools/p/allocations/9?tag=a", &[], "", "no-such-id"),
        ("DELETE", "/v1/pools/p/allocations/1", &[], "", "malformed"),
        ("PUT", "/v1/keys/a", &[ABSENT], large.as_str(), "too-large"),
        ("PUT", "/v1/keys/a", &[ABSENT, ("if-match", "\"1\"")], "", "precondition-required"),
        ("PUT", "/v1/keys/a", &[("if-match", "1")], "", "malformed"),
        ("PUT", "/v1/keys/a", &[ABSENT, ("cloakroom-operation", "xyz")], "", "malformed"),
        ("PUT", "/v1/keys/a", &[ABSENT, ("cloakroom-bound", "1")], "", "precondition-required"),
        ("PUT", "/v1/keys/a", &[ABSENT, ("cloakroom-timeout-ms", "0")], "", "malformed"),
        ("GET", "/v1/records/none", &[], "", "no-such-record"),
        ("GET", "/readyz?verbose=perhaps", &[], "", "malformed"),
    ];
    for (method, path, headers, body, expected) in cases {
        let got = node.ask(method, path, headers, body).await;
        assert_eq!(got.problem(), expected, "{method} {path} {body:.40}");
        assert_eq!(got.json()["outcome"], "none");
    }
    let most = "x".repeat(65_536);
    assert_eq!(node.ask("PUT", "/v1/keys/a", &[ABSENT], &most).await.status, StatusCode::OK);
}

#[tokio::test]
async fn records_health_version_and_cluster_are_told() {
    let node = Node::start();
    let put = node.ask("PUT", "/v1/records/cap?ttl_ms=60000", &[], "green").await;
    assert_eq!(put.json()["holders"], 1, "{put:?}");
    let got = node.get("/v1/records/cap").await.json();
    assert_eq!(got["records"][0]["value"], "green");
    assert_eq!(got["records"][0]["value_hex"], "677265656e");
    assert_eq!(&node.get("/livez").await.body[..], b"ok\n");
    let ready = node.get("/readyz?verbose").await;
    assert_eq!((ready.status, ready.json()["ready"].as_bool()), (StatusCode::OK, Some(true)));
    assert_eq!(ready.json()["checks"].as_array().unwrap().len(), 4);
    assert_eq!(node.get("/version").await.json()["api"], "v1");
    let cluster = node.get("/v1/cluster").await.json();
    assert_eq!(
        (cluster["slots"].as_u64(), cluster["members"][0]["own"].as_bool()),
        (Some(8), Some(true))
    );
    // The genesis of a cluster of one says no port.
    let address: SocketAddr = cluster["members"][0]["address"].as_str().unwrap().parse().unwrap();
    assert_eq!(address, SocketAddr::from(node.server().contact().address));
    assert!(address.ip().is_loopback() && address.port() > 0, "{address}");
    let slots = node.get("/v1/cluster/slots?limit=3&after=1").await.json();
    assert_eq!((slots["slots"][0]["slot"].as_u64(), slots["next"].as_u64()), (Some(2), Some(4)));
    assert_eq!(slots["slots"][0]["life"], "active");
}

#[tokio::test]
async fn the_list_of_members_changes_by_the_rules_alone() {
    let node = Node::start();
    let own = node.get("/v1/cluster").await.json();
    let me = own["node"].as_str().unwrap().to_owned();
    assert_eq!((own["version"].as_u64(), own["drained"].as_bool()), (Some(0), Some(false)));
    let listed = &own["members"][0];
    assert_eq!((listed["standing"].as_str(), listed["seats"].as_u64()), (Some("active"), Some(8)));
    // The one member there is moves to another zone, and says so twice.
    for _ in 0..2 {
        let joined = node.post("/v1/cluster/members", r#"{"zone":"rack-9"}"#).await;
        assert_eq!(joined.json()["version"], 1, "{joined:?}");
    }
    assert_eq!(node.get("/v1/cluster").await.json()["members"][0]["zone"], "rack-9");
    let strange = "0".repeat(64);
    let (mine, theirs) =
        (format!("/v1/cluster/members/{me}"), format!("/v1/cluster/members/{strange}"));
    let other = |key: &str, address: &str| {
        format!(
            r#"{{"zone":"z","others":[{{"node":"{strange}","key":"{key}","address":"{address}"}}]}}"#
        )
    };
    for (method, path, body, expected) in [
        ("POST", format!("{mine}/drain"), String::new(), "not-listed"),
        ("DELETE", mine.clone(), String::new(), "member-active"),
        ("DELETE", format!("{mine}?force=true"), String::new(), "not-listed"),
        ("DELETE", format!("{mine}?force=perhaps"), String::new(), "malformed"),
        ("POST", format!("{theirs}/drain"), String::new(), "no-such-member"),
        ("DELETE", format!("{theirs}/drain"), String::new(), "no-such-member"),
        ("DELETE", theirs, String::new(), "no-such-member"),
        ("DELETE", "/v1/cluster/members/n12".to_owned(), String::new(), "malformed"),
        ("POST", "/v1/cluster/members".to_owned(), r#"{"zone":""}"#.to_owned(), "malformed"),
        ("POST", "/v1/cluster/members".to_owned(), other("zz", "1.2.3.4:5"), "malformed"),
        ("POST", "/v1/cluster/members".to_owned(), other(&strange, "here"), "malformed"),
    ] {
        let json = [("content-type", "application/json")];
        let got = node.ask(method, &path, &json, &body).await;
        assert_eq!(got.problem(), expected, "{method} {path} {body}");
    }
    let undone = node.ask("DELETE", &format!("{mine}/drain"), &[], "").await;
    assert_eq!(undone.json()["version"], 1, "it takes seats as it did");
    assert_eq!(node.get("/v1/cluster").await.json()["version"], 1);
}

/// A page of another site in a browser on this machine, by a form or by a name that points here.
#[tokio::test]
async fn what_a_page_of_another_site_can_make_a_browser_send_is_refused() {
    let node = Node::start();
    let body = r#"{"name":"p","size":9}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let form = node.ask("POST", "/v1/pools", &[("content-type", kind)], body).await;
        assert_eq!(form.problem(), "unsupported-media-type");
    }
    assert_eq!(node.ask("POST", "/v1/pools", &[], body).await.problem(), "unsupported-media-type");
    for host in ["evil.example", "evil.example:8420", "localhost.evil.example", "10.0.0.1", ""] {
        let rebound = node.ask("GET", "/v1/pools", &[("host", host)], "").await;
        assert_eq!(rebound.problem(), "wrong-host", "{host}");
    }
    for host in ["localhost", "localhost:8420", "127.0.0.1:8420", "[::1]:8420"] {
        assert_eq!(node.ask("GET", "/v1/pools", &[("host", host)], "").await.status, 200, "{host}");
    }
    // A second one does not make up for the first, nor the first for the second.
    for hosts in [["localhost", "evil.example"], ["evil.example", "localhost"]] {
        let hosts = hosts.map(|host| ("host", host));
        assert_eq!(node.ask("GET", "/v1/pools", &hosts, "").await.problem(), "wrong-host");
    }
    // Of a path that takes no document a browser would send the request unasked.
    let own = node.get("/v1/cluster").await.json()["node"].as_str().unwrap().to_owned();
    let drain = format!("/v1/cluster/members/{own}/drain");
    let host = ("host", "localhost:8420");
    for foreign in [
        ("origin", "http://evil.example"),
        ("origin", "http://localhost:9000"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let sent = node.ask("POST", &drain, &[host, foreign], "").await;
        assert_eq!(sent.problem(), "foreign-page", "{foreign:?}");
        assert_eq!(node.ask("GET", "/v1/pools", &[host, foreign], "").await.status, 200);
    }
    let ours = [host, ("origin", "http://localhost:8420"), ("sec-fetch-site", "same-origin")];
    let ping = format!("/v1/dht/nodes/{own}/ping");
    assert_ne!(node.ask("POST", &ping, &ours, "").await.status, 403);
    assert_eq!(node.get("/v1/pools").await.json()["pools"], json!([]));
}

#[tokio::test]
async fn the_closest_nodes_are_named_and_a_node_that_nobody_knows_is_not_pinged() {
    let node = Node::start();
    let by_key = node.get("/v1/records/cap/nodes").await.json();
    let nodes = by_key["nodes"].as_array().unwrap();
    let own = nodes[0]["node"].as_str().unwrap();
    assert_eq!((nodes.len(), &nodes[0]["own"]), (1, &json!(true)));
    let by_id = node.get(&format!("/v1/dht/nodes?id={own}")).await.json();
    assert_eq!(by_id["nodes"][0]["distance"], "0".repeat(64));
    assert_ne!(by_key["nodes"][0]["distance"], by_id["nodes"][0]["distance"]);
    for wrong in ["", "?key=a&id=0", "?id=0", "?id=xyz", "?other=1"] {
        assert_eq!(node.get(&format!("/v1/dht/nodes{wrong}")).await.problem(), "malformed");
    }
    let pinged = node.post(&format!("/v1/dht/nodes/{own}/ping"), "").await.json();
    assert_eq!((&pinged["node"], &pinged["round_trip_us"]), (&json!(own), &json!(0)));
    let unknown = node.post(&format!("/v1/dht/nodes/{}/ping", "7".repeat(64)), "").await;
    assert_eq!(unknown.problem(), "no-such-node");
}

/// `CLOAKROOM_WRITE_OPENAPI=1 cargo test -p cloakroom-rest --test rest openapi` writes it anew.
#[test]
fn the_committed_openapi_description_is_the_one_that_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs/openapi.json");
    let now = cloakroom_rest::openapi();
    if std::env::var_os("CLOAKROOM_WRITE_OPENAPI").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == now, "specs/openapi.json differs: look at it, and write it anew");
}

/// A list is no object, what is no text is nobody's tag, and what nobody knows is not ignored.
#[tokio::test]
async fn what_is_not_meant_so_is_refused_and_nothing_is_done() {
    let node = Node::start();
    node.post("/v1/pools", r#"{"name":"p","size":9}"#).await;
    node.post("/v1/pools/p/allocations", "{\"tag\":\"\u{fffd}\"}").await;
    let allocations = "/v1/pools/p/allocations";
    let list = node.post(allocations, "\n [\"x\"]").await;
    assert_eq!(list.problem(), "malformed");
    let detail = list.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.ends_with("got a list at line 2 column 2"), "{detail}");
    for (method, path) in [
        ("DELETE", "/v1/pools/p/allocations/0?tag=%ff"),
        ("DELETE", "/v1/pools/p/allocations/+0?tag=%ef%bf%bd"),
        ("DELETE", "/v1/pools/p/allocations/0?tag=%zz"),
        ("DELETE", "/v1/pools/p/allocations/0?tag=%ef%bf%bd&force=1"),
        ("GET", "/v1/pools/p/allocations?prefix=%f"),
        ("GET", "/v1/pools?after=%ff"),
        ("GET", "/v1/pools/%zz"),
        ("GET", "/v1/pools/p/usage?x=1"),
        ("HEAD", "/v1/pools/p?x"),
        ("DELETE", "/v1/pools/p?force=true"),
        ("GET", "/v1/keys/k?version=1"),
    ] {
        let got = node.ask(method, path, &[], "").await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{method} {path}: {got:?}");
    }
    assert_eq!(node.get("/v1/pools/p/usage").await.json()["held"], 1);
    // An empty query is none, and other paths take what balancers and scrapers add.
    for path in ["/v1/pools/p?", "/livez?x=1", "/metrics?x=1"] {
        assert_eq!(node.get(path).await.status, StatusCode::OK, "{path}");
    }
    let freed = node.ask("DELETE", "/v1/pools/p/allocations/0?tag=%ef%bf%bd", &[], "").await;
    assert_eq!(freed.json()["outcome"], "freed");
}

/// Whatever changes something takes an operation id, also what could be done any number of times.
#[tokio::test]
async fn every_path_that_changes_something_refuses_an_operation_id_that_came_with_another_request()
{
    let node = Node::start();
    let nobody = "0".repeat(64);
    node.post("/v1/pools", r#"{"name":"p","size":9}"#).await;
    let dead = |tag: &str| json!({ "dead": [tag] }).to_string();
    let alone = json!({ "zone": "z", "others": [] }).to_string();
    let (drain, remove) =
        (format!("/v1/cluster/members/{nobody}/drain"), format!("/v1/cluster/members/{nobody}"));
    let requests: [(&str, &str, String); 10] = [
        ("PUT", "/v1/keys/k", "v".into()),
        ("DELETE", "/v1/keys/k", String::new()),
        ("POST", "/v1/pools", r#"{"name":"q","size":9}"#.into()),
        ("DELETE", "/v1/pools/none", String::new()),
        ("POST", "/v1/pools/p/allocations", r#"{"tag":"t"}"#.into()),
        ("DELETE", "/v1/pools/p/allocations/0?tag=t", String::new()),
        ("POST", "/v1/pools/p/recover", dead("a")),
        ("PUT", "/v1/records/r", "v".into()),
        ("POST", &drain, String::new()),
        ("DELETE", &remove, String::new()),
    ];
    for (number, (method, path, body)) in requests.iter().enumerate() {
        let operation = format!("{number:032x}");
        let condition = if *method == "PUT" { ABSENT } else { ("if-match", "\"1\"") };
        let headers = [JSON, condition, ("cloakroom-operation", &operation)];
        let first = node.ask(method, path, &headers, body).await;
        assert_eq!(first.headers["cloakroom-operation"], operation, "{method} {path}: {first:?}");
        let again = node.ask(method, path, &headers, body).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body), "{method} {path}");
        let other = node.ask("POST", "/v1/cluster/members", &headers, &alone).await;
        assert_eq!(other.problem(), "operation-reused", "{method} {path}");
    }
    let recover = ("cloakroom-operation", "00000000000000000000000000000006");
    let other = node.ask("POST", "/v1/pools/p/recover", &[JSON, recover], &dead("b")).await;
    assert_eq!(other.problem(), "operation-reused");
}
