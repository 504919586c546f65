//! The layers: which workspace member may depend on which.
//!
//! Invariants:
//! * an edge that is not in [`LAYERS`] is an error, also one that only tests need;
//! * every member has its row, and every row its member;
//! * `specs` depends on nothing, neither here nor outside: what judges must not share code with what
//!   is judged.

use std::process::Command;

use cloakroom_tests::Repository;
use serde_json::Value;

/// A member, and the members that it may depend on.
struct Layer {
    member: &'static str,
    /// In what ships.
    may: &'static [&'static str],
    /// Beside these, in its tests.
    may_in_tests: &'static [&'static str],
}

/// Every edge that is allowed, with its reason. Below the CLI, `impl` needs `specs` in tests only.
const LAYERS: &[Layer] = &[
    // WHAT must hold stands alone.
    Layer { member: "cloakroom-specs", may: &[], may_in_tests: &[] },
    // Pure: what it needs of a map is a trait of its own. The oracle judges it in tests.
    Layer { member: "cloakroom-pool", may: &[], may_in_tests: &["cloakroom-specs"] },
    // The map in memory implements the pool's map trait; its dense store keeps the pool's values.
    Layer {
        member: "cloakroom-shards",
        may: &["cloakroom-pool"],
        may_in_tests: &["cloakroom-specs"],
    },
    // Pure: registers know nothing of who keeps, sends or times them, and of the pool its map trait.
    // What they say has its layout here, in the wire's letters.
    Layer {
        member: "cloakroom-register",
        may: &["cloakroom-pool", "cloakroom-wire"],
        may_in_tests: &["cloakroom-specs"],
    },
    // Pure: the words that nodes use. Knows no protocol.
    Layer { member: "cloakroom-wire", may: &[], may_in_tests: &[] },
    // Speaks in the wire's words, and knows no bytes.
    Layer {
        member: "cloakroom-kademlia",
        may: &["cloakroom-wire"],
        may_in_tests: &["cloakroom-specs"],
    },
    // Stores implement the pool's map trait and know nothing else of it.
    Layer {
        member: "cloakroom-stores",
        may: &["cloakroom-pool"],
        may_in_tests: &["cloakroom-specs"],
    },
    // Pure: lets the protocols of a node share connections, disk and clock.
    Layer {
        member: "cloakroom-node",
        may: &["cloakroom-kademlia", "cloakroom-register", "cloakroom-wire"],
        may_in_tests: &[],
    },
    // Sockets around the pure parts.
    Layer {
        member: "cloakroom-server",
        may: &[
            "cloakroom-kademlia",
            "cloakroom-node",
            "cloakroom-pool",
            "cloakroom-register",
            "cloakroom-stores",
            "cloakroom-wire",
        ],
        may_in_tests: &[],
    },
    // HTTP around a server: pools, keys and records for whoever can send requests.
    Layer {
        member: "cloakroom-rest",
        may: &[
            "cloakroom-kademlia",
            "cloakroom-node",
            "cloakroom-pool",
            "cloakroom-register",
            "cloakroom-server",
            "cloakroom-wire",
        ],
        may_in_tests: &["cloakroom-client"],
    },
    // Sends requests, and chooses among nodes as the DHT does.
    Layer {
        member: "cloakroom-client",
        may: &["cloakroom-kademlia", "cloakroom-wire"],
        may_in_tests: &[],
    },
    // The command runs a pool on a store, or on the map in memory. It ships the oracle too: `replay`
    // answers the user's question whether the pool did right, and its judge must not be the pool's
    // own code. And it ships the simulator: `sim` answers how a network would behave before it is
    // built. `serve` puts a node together.
    Layer {
        member: "cloakroom-cli",
        may: &[
            "cloakroom-client",
            "cloakroom-kademlia",
            "cloakroom-node",
            "cloakroom-pool",
            "cloakroom-register",
            "cloakroom-rest",
            "cloakroom-server",
            "cloakroom-shards",
            "cloakroom-specs",
            "cloakroom-stores",
            "sim",
        ],
        may_in_tests: &[],
    },
    // Checks look at everything and nothing looks at them.
    Layer {
        member: "cloakroom-model",
        may: &[
            "cloakroom-pool",
            "cloakroom-kademlia",
            "cloakroom-register",
            "cloakroom-wire",
            "cloakroom-specs",
        ],
        may_in_tests: &[],
    },
    Layer {
        member: "cloakroom-tests",
        may: &[],
        may_in_tests: &["cloakroom-pool", "cloakroom-stores", "cloakroom-specs"],
    },
    // A judge shares nothing with what it judges. The oracle judges the judge.
    Layer { member: "cloakroom-lincheck", may: &[], may_in_tests: &["cloakroom-specs"] },
    // Whole networks of the real machines over the real bytes; its engine knows neither. Of the
    // registers it also ships the judges: predicates and histories.
    Layer {
        member: "sim",
        may: &[
            "cloakroom-kademlia",
            "cloakroom-lincheck",
            "cloakroom-node",
            "cloakroom-pool",
            "cloakroom-register",
            "cloakroom-specs",
            "cloakroom-wire",
        ],
        may_in_tests: &[],
    },
    // Real processes: the command, started under its own name, and its client; the judges of histories
    // and of the pool. Of the server only what makes certificates, and the transport of a
    // stranger.
    Layer {
        member: "e2e",
        may: &[
            "cloakroom-cli",
            "cloakroom-client",
            "cloakroom-lincheck",
            "cloakroom-server",
            "cloakroom-specs",
            "cloakroom-wire",
        ],
        may_in_tests: &[],
    },
    // Reads patches, runs cargo; links nothing of the house.
    Layer { member: "mutants", may: &[], may_in_tests: &[] },
];

/// What is wrong with the edges of a `cargo metadata`, in words.
fn complaints(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().expect("cargo metadata: packages");
    let name = |value: &Value| value["name"].as_str().expect("cargo metadata: name").to_string();
    let mut complaints = Vec::new();
    for package in packages {
        let member = name(package);
        let Some(layer) = LAYERS.iter().find(|layer| layer.member == member) else {
            complaints.push(format!("{member} has no row in LAYERS"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("cargo metadata") {
            let to = name(dependency);
            let in_tests = dependency["kind"] == "dev";
            // A member, or what would be one if it stood in this workspace: it has a path.
            if dependency["path"].is_string() {
                let allowed =
                    layer.may.contains(&&*to) || in_tests && layer.may_in_tests.contains(&&*to);
                if !allowed {
                    let kind = if in_tests { " in its tests" } else { "" };
                    complaints.push(format!("{member} must not depend on {to}{kind}"));
                }
            } else if member == "cloakroom-specs" {
                complaints.push(format!("{member} must depend on nothing, got {to}"));
            }
        }
    }
    for layer in LAYERS {
        if !packages.iter().any(|package| name(package) == layer.member) {
            complaints.push(format!("{} has a row in LAYERS and is no member", layer.member));
        }
    }
    complaints
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(Repository::here().root())
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

#[test]
fn no_member_depends_on_a_layer_that_it_must_not_know() {
    let complaints = complaints(&metadata());
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn edges_and_members_that_are_not_in_the_table_are_refused() {
    let mut metadata = metadata();
    let packages = metadata["packages"].as_array_mut().unwrap();
    packages.retain(|package| package["name"] != "mutants");
    for package in packages.iter_mut() {
        if package["name"] == "cloakroom-pool" {
            package["dependencies"] = serde_json::json!([
                { "name": "cloakroom-specs", "kind": "dev", "path": "/specs" },
                { "name": "cloakroom-specs", "kind": null, "path": "/specs" },
                { "name": "cloakroom-stores", "kind": "dev", "path": "/impl/stores" },
                { "name": "thiserror", "kind": null },
            ]);
        }
        if package["name"] == "cloakroom-specs" {
            package["dependencies"] = serde_json::json!([{ "name": "thiserror", "kind": null }]);
        }
    }
    packages.push(serde_json::json!({ "name": "cloakroom-new", "dependencies": [] }));
    let mut found = complaints(&metadata);
    found.sort();
    assert_eq!(
        found,
        [
            "cloakroom-new has no row in LAYERS",
            "cloakroom-pool must not depend on cloakroom-specs",
            "cloakroom-pool must not depend on cloakroom-stores in its tests",
            "cloakroom-specs must depend on nothing, got thiserror",
            "mutants has a row in LAYERS and is no member",
        ]
    );
}
