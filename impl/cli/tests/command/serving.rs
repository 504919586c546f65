//! `serve` as a process: the README's lines, `kill -9`, SIGTERM, wrong addresses.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::binary::Desk;

/// A server that is killed when the test is over.
struct Serving {
    child: Child,
    out: BufReader<ChildStdout>,
    address: String,
}

impl Serving {
    fn start(desk: &Desk) -> Self {
        Self::of(desk, "serve --http 127.0.0.1:0 --log-format json")
    }

    fn of(desk: &Desk, line: &str) -> Self {
        let mut command = desk.command(line);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("cloakroom serves http://");
        let address = address.unwrap_or_else(|| panic!("got {line:?}")).to_owned();
        Self { child, out, address }
    }

    /// Runs a line of a shell that is written for the usual port.
    fn shell(&self, line: &str) -> Output {
        let line = line.replace("localhost:8420", &self.address);
        let ran = Command::new("sh").args(["-euc", &line]).output().unwrap();
        assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
        ran
    }

    fn signal(&mut self, name: &str) -> std::process::ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Only the address is another one: the usual port may be taken where the test runs.
#[test]
fn the_readmes_curl_lines_work_as_printed_and_what_they_did_survives_kill_9() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let lines: Vec<&str> = readme.lines().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let desk = Desk::new();
    let mut serving = Serving::start(&desk);
    let said: Vec<String> = lines.iter().map(|line| text(&serving.shell(line))).collect();
    assert!(said[0].contains(r#""pool":"ports""#), "{}", said[0]);
    assert_eq!(said[1], r#"{"id":0,"tag":"web-1"}"#);
    assert_eq!(said[2], r#"{"allocations":[{"id":0,"tag":"web-1"}],"next":null}"#);
    serving.signal("-KILL");
    let again = Serving::start(&desk);
    assert_eq!(text(&again.shell(lines[2])), said[2]);
}

#[test]
fn sigterm_ends_it_cleanly_and_it_says_where_its_data_is() {
    let desk = Desk::new();
    let mut serving = Serving::start(&desk);
    let mut line = String::new();
    serving.out.read_line(&mut line).unwrap();
    let folder = desk.path("cloakroom-node");
    assert!(line.starts_with("its data is in ") && folder.join("node.redb").is_file(), "{line}");
    assert_eq!(serving.signal("-TERM").code(), Some(0));
    let mut said = String::new();
    serving.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.ends_with("cloakroom has ended\n"), "{said}");
}

#[test]
fn an_address_that_is_not_loopback_a_taken_port_and_a_foreign_folder_are_refused() {
    let desk = Desk::new();
    desk.fails("serve --http 0.0.0.0:0", 2, "plain HTTP is for loopback");
    desk.fails("serve --log what=ever=this", 2, "expected a level");
    let serving = Serving::start(&desk);
    let taken = format!("serve --folder other --http {}", serving.address);
    desk.fails(&taken, 1, "cannot listen on");
    std::fs::create_dir(desk.path("empty")).unwrap();
    desk.fails("serve --folder empty --http 127.0.0.1:0", 1, "node.key");
}

/// A founder's folder has what the others have, and serves.
#[test]
fn a_cluster_is_made_and_a_node_more_and_certificates_are_renewed_and_revoked() {
    let desk = Desk::new();
    let made = desk.ok("cluster init coats a=127.0.0.1:17420 b=127.0.0.1:17421,rack-2 --slots 8");
    assert_eq!(made, "coats/a\ncoats/b\n");
    desk.fails("cluster init coats a=127.0.0.1:17420", 1, "is there already");
    desk.fails("cluster init other ../x=127.0.0.1:17420", 2, "expected NAME=ADDRESS");
    let read = |name: &str| std::fs::read(desk.path(name)).unwrap();
    assert_eq!(read("coats/a/genesis.json"), read("coats/b/genesis.json"));
    assert_ne!(read("coats/a/node.key"), read("coats/b/node.key"));
    let before = read("coats/a/node.pem");
    let renewed = desk.ok("cert renew coats a --valid-days 7");
    assert_ne!(before, read("coats/a/node.pem"));
    let issued = desk.ok("cert issue coats c");
    assert_ne!(renewed, issued);
    assert_eq!(read("coats/a/genesis.sig"), read("coats/c/genesis.sig"));
    let list = read("coats/a/revoked.pem");
    assert_eq!(desk.ok("cert revoke coats c"), issued);
    assert_ne!(list, read("coats/a/revoked.pem"));
    desk.fails("cert renew coats ../c", 2, "expected letters");
}

/// `dev cluster` with so many servers, and their addresses.
fn dev_cluster(desk: &Desk, nodes: usize) -> (Serving, Vec<String>) {
    let mut command = desk.command(&format!("dev cluster --nodes {nodes} --first-port 0"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut addresses = Vec::new();
    for _ in 0..nodes {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let url = line.split_whitespace().next().unwrap_or_default();
        let address = url.strip_prefix("http://").unwrap_or_else(|| panic!("got {line:?}"));
        addresses.push(address.to_owned());
    }
    (Serving { child, out, address: addresses[0].clone() }, addresses)
}

#[test]
fn a_node_joins_and_members_drain_and_are_removed_for_ever() {
    let desk = Desk::new();
    let (cluster, addresses) = dev_cluster(&desk, 3);
    cluster.shell("curl -fsS --retry 20 --retry-delay 1 localhost:8420/readyz");
    let member = format!("--endpoint http://{}", addresses[1]);
    desk.ok("cert issue cloakroom-dev d");
    let newcomer = Serving::of(&desk, "serve --folder cloakroom-dev/d --http 127.0.0.1:0");
    let at = format!("--endpoint http://{}", newcomer.address);
    assert_eq!(
        desk.ok(&format!("cluster join --zone d --through http://{} {at}", addresses[2])),
        "1\n"
    );
    let members = || desk.json(&format!("cluster members {member}"));
    let listed = |zone: &str| {
        let all = members();
        let all = all.as_array().unwrap().clone();
        all.into_iter().find(|member| member["zone"] == zone)
    };
    // A node hears of the list's newest version, sooner or later.
    let until = |zone: &str, is: &dyn Fn(Option<&serde_json::Value>) -> bool| {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_mins(1) {
            let found = listed(zone);
            if is(found.as_ref()) {
                return found;
            }
        }
        panic!("{zone}: {:?}", members());
    };
    let id =
        |member: Option<serde_json::Value>| member.unwrap()["node"].as_str().unwrap().to_owned();
    let newcomer_id = id(until("d", &|it| it.is_some()));
    assert!(desk.ok(&format!("cluster members {member}")).contains(&newcomer_id[..16]));
    let status = desk.command(&format!("cluster status {member}")).output().unwrap();
    assert!(text(&status).contains("4 active, 0 draining"), "{status:?}");
    let first = id(listed("node-1"));
    assert_eq!(desk.ok(&format!("cluster drain n{} {member}", &first[..12])), "2\n");
    until("node-1", &|it| it.is_some_and(|member| member["standing"] == "draining"));
    assert_eq!(desk.ok(&format!("cluster remove {newcomer_id} {member}")), "3\n");
    until("d", &|it| it.is_none());
    // Its disk is banned.
    desk.fails(&format!("cluster join --zone d {at}"), 1, "banned");
    desk.fails(&format!("cluster drain {} {member}", "0".repeat(64)), 2, "no such member");
    desk.fails(
        &format!("cluster join --zone d {member},{}", addresses[0]),
        2,
        "expected the newcomer's",
    );
    desk.fails(&format!("cluster drain xyz {member}"), 2, "hexadecimal");
    let mut cluster = cluster;
    assert_eq!(cluster.signal("-TERM").code(), Some(0));
}

#[test]
fn five_servers_take_each_request_at_any_of_them_until_they_are_stopped() {
    let desk = Desk::new();
    let (cluster, addresses) = dev_cluster(&desk, 5);
    let at = |number: usize, line: &str| {
        text(&cluster.shell(&line.replace("localhost:8420", &addresses[number])))
    };
    at(0, "curl -fsS --retry 20 --retry-delay 1 localhost:8420/readyz");
    let pool = r#"curl -sS localhost:8420/v1/pools --json '{"name":"ports","size":100}'"#;
    assert!(at(1, pool).contains(r#""pool":"ports""#));
    for number in 0..10 {
        let line = format!(
            r#"curl -sS localhost:8420/v1/pools/ports/allocations --json '{{"tag":"t{number}"}}'"#
        );
        let said = at(number % 5, &line);
        assert_eq!(said, format!(r#"{{"id":{number},"tag":"t{number}"}}"#));
    }
    assert!(at(3, "curl -sS localhost:8420/v1/pools/ports/usage").contains(r#""held":10"#));
    let mut cluster = cluster;
    assert_eq!(cluster.signal("-TERM").code(), Some(0));
}

#[test]
fn pool_commands_keys_and_records_go_to_a_server_when_it_is_named() {
    let desk = Desk::new();
    let serving = Serving::start(&desk);
    let at = |command: &str| format!("{command} --endpoint http://{}", serving.address);
    desk.ok(&at("pool create ports --size 3 --policy spread"));
    let pools = desk.json(&at("pool list"));
    assert_eq!((&pools[0]["pool"], &pools[0]["policy"]), (&"ports".into(), &"spread".into()));
    let id = desk.ok(&at("allocate ports --tag web-1"));
    assert_eq!(desk.ok(&at("find ports --tag web-1")), id);
    assert_eq!(desk.json(&at("usage ports"))["held"], 1);
    desk.fails(&at(&format!("free ports {} --tag other", id.trim())), 1, "another tag");
    desk.write("live.txt", "");
    let recovered = desk.json(&at("recover ports --live live.txt --none-live"));
    assert_eq!(recovered["freed"][0]["tag"], "web-1");
    desk.ok(&at("check ports"));
    desk.fails(&at("usage nowhere"), 2, "no such pool");
    assert_eq!(desk.ok(&at("kv put-if-absent coat red")), "1\n");
    assert_eq!(desk.ok(&at("kv cas coat 1 blue")), "2\n");
    desk.fails(&at("kv cas coat 1 green"), 1, "does not hold");
    assert_eq!(desk.ok(&at("kv get coat")), "blue");
    desk.ok(&at("kv remove coat 2"));
    desk.ok(&at("dht put cap green"));
    assert_eq!(desk.ok(&at("dht get cap")), "green\n");
    desk.fails("usage ports --endpoint nowhere", 2, "expected http://");
    assert!(!desk.path("cloakroom.redb").exists(), "no data file was made");
}
