//! `serve` as a process: the README's lines, `kill -9`, clusters, wrong addresses.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::binary::Desk;

/// A server that is ended when the test is over.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) out: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Serving {
    pub(crate) fn start(desk: &Desk) -> Self {
        Self::of(desk, "serve --http 127.0.0.1:0 --log-format json")
    }

    pub(crate) fn of(desk: &Desk, line: &str) -> Self {
        Self::from(desk.command(line))
    }

    pub(crate) fn from(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("cloakroom serves ");
        let address = url.and_then(|url| Some(url.split_once("://")?.1));
        let address = address.unwrap_or_else(|| panic!("got {line:?}")).to_owned();
        Self { child, out, address }
    }

    /// Runs a line of a shell that is written for the usual port.
    pub(crate) fn shell(&self, line: &str) -> Output {
        let line = line.replace("localhost:8420", &self.address);
        let ran = Command::new("sh").args(["-euc", &line]).output().unwrap();
        assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
        ran
    }

    pub(crate) fn signal(&mut self, name: &str) -> std::process::ExitStatus {
        self.send(name);
        self.child.wait().unwrap()
    }

    /// Reads its log up to a line with this; the server runs on.
    pub(crate) fn until_it_says(&mut self, text: &str) -> String {
        let log = BufReader::new(self.child.stderr.as_mut().unwrap());
        let mut lines = log.lines().map_while(Result::ok);
        lines.find(|line| line.contains(text)).unwrap_or_else(|| panic!("it never said {text:?}"))
    }

    /// A signal that does not end it.
    pub(crate) fn send(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // Whoever has servers of its own ends them when it is told to, and not when it is killed. It bounds the
        // time for that itself.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.child.wait();
    }
}

pub(crate) fn text(output: &Output) -> String {
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
fn an_address_that_is_not_loopback_a_taken_port_and_a_foreign_folder_are_refused() {
    let desk = Desk::new();
    desk.fails("serve --http 0.0.0.0:0", 2, "plain HTTP is for loopback");
    desk.fails("serve --log what=ever=this", 2, "expected a level");
    let serving = Serving::start(&desk);
    let taken = format!("serve --folder other --http {}", serving.address);
    desk.fails(&taken, 1, "cannot listen on");
    std::fs::create_dir(desk.path("empty")).unwrap();
    let message = "empty: expected a node's folder, got one without node.key";
    desk.fails("serve --folder empty --http 127.0.0.1:0", 2, message);
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

/// A cluster of one issues its own certificates, and those of clients.
#[test]
fn https_is_for_whoever_has_a_certificate_until_it_is_revoked() {
    let desk = Desk::new();
    desk.fails("serve --http off", 2, "expected --https");
    let serving = Serving::of(&desk, "serve --http off --https 127.0.0.1:0 --host coats.internal");
    assert_eq!(
        desk.ok("cert issue cloakroom-node alice --client"),
        "cloakroom-node/clients/alice\n"
    );
    let port = serving.address.rsplit(':').next().unwrap().to_owned();
    let at = format!("--endpoint https://localhost:{port} --deadline-ms 5000");
    let alice = format!("{at} --identity cloakroom-node/clients/alice");
    assert_eq!(desk.ok(&format!("kv put-if-absent coat red {alice}")), "1\n");
    // The node's own folder is an identity too.
    assert_eq!(desk.ok(&format!("kv get coat {at} --identity cloakroom-node")), "red");
    let ca = "--ca cloakroom-node/authority.pem";
    desk.fails(&format!("kv get coat {at} {ca}"), 1, "expected a certificate");
    desk.fails(&format!("kv get coat {at}"), 2, "expected the certificate of the cluster's");
    desk.ok("cluster init other a=127.0.0.1:17420");
    let other = "--ca other/authority/authority.pem";
    desk.fails(&format!("kv get coat {alice} {other}"), 1, "is of another authority");
    let curl = |with: &str, url: &str| {
        let folder = desk.path("cloakroom-node");
        let line = format!("curl -sS --cacert {}/authority.pem {with} {url}", folder.display());
        Command::new("sh").args(["-euc", &line]).output().unwrap()
    };
    let by_name = format!("--resolve coats.internal:{port}:127.0.0.1");
    let ready = curl(&by_name, &format!("https://coats.internal:{port}/readyz"));
    assert_eq!(text(&ready), r#"{"ready":true}"#, "{ready:?}");
    let folder = desk.path("cloakroom-node/clients/alice");
    let shown = format!("--cert {0}/client.pem --key {0}/client.key", folder.display());
    let pools = curl(&shown, &format!("https://localhost:{port}/v1/pools"));
    assert!(text(&pools).contains(r#""pools":[]"#), "{pools:?}");
    assert_eq!(desk.ok("cert revoke cloakroom-node alice --client"), "alice\n");
    serving.send("-HUP");
    let begun = Instant::now();
    loop {
        let ran = desk.run(&format!("kv get coat {alice}"));
        if ran.err.contains("our certificate is revoked") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{ran:?}");
    }
}

#[test]
fn a_cluster_of_servers_on_https_takes_requests_of_its_own_client() {
    let desk = Desk::new();
    let (mut cluster, addresses) = dev_cluster_of(&desk, "--nodes 3 --secure", 3);
    for address in &addresses {
        let at = format!("--endpoint https://{address} --identity cloakroom-dev/clients/dev");
        let members = desk.json(&format!("cluster members {at}"));
        assert_eq!(members.as_array().map(Vec::len), Some(3));
    }
    assert_eq!(cluster.signal("-TERM").code(), Some(0));
}

/// `dev cluster` with so many servers, and their addresses.
pub(crate) fn dev_cluster(desk: &Desk, nodes: usize) -> (Serving, Vec<String>) {
    dev_cluster_of(desk, &format!("--nodes {nodes}"), nodes)
}

fn dev_cluster_of(desk: &Desk, with: &str, nodes: usize) -> (Serving, Vec<String>) {
    let mut command = desk.command(&format!("dev cluster {with} --first-port 0"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut addresses = Vec::new();
    for _ in 0..nodes {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let url = line.split_whitespace().next().unwrap_or_default();
        let address = url.split_once("://").unwrap_or_else(|| panic!("got {line:?}")).1;
        addresses.push(address.to_owned());
    }
    (Serving { child, out, address: addresses[0].clone() }, addresses)
}

#[test]
fn servers_end_when_what_has_started_them_is_killed() {
    let desk = Desk::new();
    desk.fails("dev cluster --nodes 2 --first-port 65535", 2, "expected at most 65534, since 2");
    assert!(!desk.path("cloakroom-dev").exists(), "nothing is begun");
    let (mut cluster, addresses) = dev_cluster(&desk, 2);
    assert_eq!(cluster.signal("-KILL").code(), None);
    let begun = Instant::now();
    while addresses.iter().any(|address| TcpStream::connect(address).is_ok()) {
        assert!(begun.elapsed() < Duration::from_mins(1), "they go on");
    }
    // The cluster is there, with its two nodes.
    let wrong = "--nodes: expected 2, as many as ./cloakroom-dev has, got 5";
    desk.fails("dev cluster --nodes 5 --first-port 0", 2, wrong);
    desk.fails("dev cluster --first-port 65535", 2, "expected at most 65534, since 2 servers");
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
    assert!(text(&status).contains(" members each\n"), "{status:?}");
    let first = id(listed("node-1"));
    assert_eq!(desk.ok(&format!("cluster drain n{} {member}", &first[..12])), "2\n");
    until("node-1", &|it| it.is_some_and(|member| member["standing"] == "draining"));
    // Others cannot tell, whatever seats they have heard of; its own server does.
    assert!(listed("node-1").unwrap()["drained"].is_null());
    let own = format!("--endpoint http://{}", addresses[0]);
    let begun = Instant::now();
    while !desk.ok(&format!("cluster members {own}")).contains("  drained ") {
        assert!(begun.elapsed() < Duration::from_mins(2), "{:?}", members());
    }
    let told = desk.json(&format!("cluster members {own}"));
    let told = told.as_array().unwrap().iter().find(|member| member["own"] == true).unwrap();
    assert_eq!((&told["drained"], &told["seats"]), (&true.into(), &0.into()));
    desk.fails(&format!("cluster join --zone node-1 {own}"), 1, "this node drains: undo that");
    let undo = format!("cluster drain --undo n{} {member}", &first[..12]);
    assert_eq!(desk.ok(&undo), "3\n");
    until("node-1", &|it| it.is_some_and(|member| member["standing"] == "active"));
    assert_eq!(desk.ok(&undo), "3\n", "it is as it was asked to be");
    // It answers, and nobody has told it to drain.
    desk.fails(&format!("cluster remove {newcomer_id} {member}"), 1, "have it drain first");
    assert_eq!(desk.ok(&format!("cluster remove --force {newcomer_id} {member}")), "4\n");
    until("d", &|it| it.is_none());
    // Its disk is banned.
    desk.fails(&format!("cluster drain --undo {newcomer_id} {member}"), 2, "no such member");
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

/// Of 65,536 ids: one write of a block, and for a free then one of the root, each a round trip while its coordinator has the
/// promise for it. Of the three that there are for each call, one goes beside the first: that of the directory, which says
/// that the pool is still the one that it was. An allocation is answered before the root is written.
#[test]
fn a_call_alone_waits_for_at_most_two_round_trips_to_the_replicas() {
    let desk = Desk::new();
    let (_serving, urls) = dev_cluster(&desk, 3);
    let urls: Vec<String> = urls.iter().map(|address| format!("http://{address}")).collect();
    let bench = "bench --clients 1 --duration 2 --occupancy 1 --endpoint";
    let report = desk.json(&format!("{bench} {}", urls.join(",")));
    let run = &report["runs"][0];
    assert!(run["calls"][1]["done"].as_u64().unwrap() > 10, "{report}");
    assert_eq!(report["size"], 65_536);
    for call in run["calls"].as_array().unwrap() {
        let waited_for = call["round_trips_p50"].as_u64().unwrap();
        assert!((1..=2).contains(&waited_for), "{report}");
        assert_eq!(call["not_owner"], 0);
    }
    assert!(run["all_rounds_per_call"].as_f64().unwrap() > 2.0, "{report}");
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
    let endpoint = format!("--endpoint http://{}", addresses[2]);
    // As the README says of them: any one may be killed, and no two.
    assert!(at(2, "curl -sS localhost:8420/v1/cluster").contains(r#""replicas":3"#));
    let found = desk.json(&format!("dht find-node --key cap {endpoint}"));
    let nodes = found["nodes"].as_array().unwrap();
    let text = |of: &serde_json::Value| of.as_str().unwrap().to_owned();
    let distances: Vec<String> = nodes.iter().map(|near| text(&near["distance"])).collect();
    assert!(nodes.len() == 5 && distances.is_sorted(), "{found}");
    let last = text(&nodes[4]["node"]);
    let table = desk.ok(&format!("dht find-node {last} {endpoint}"));
    let first = table.lines().nth(1).unwrap();
    assert!(first.starts_with(&format!("{}  {}  127.", &last[..16], "0".repeat(16))), "{table}");
    assert!(desk.ok(&format!("dht ping {} {endpoint}", &last[..16])).ends_with(" ms\n"));
    desk.fails(&format!("dht ping {} {endpoint}", "7".repeat(64)), 1, "No node of this id");
    for digits in [&last[..16], &format!("n{}", &last[..16])] {
        assert_eq!(desk.ok(&format!("dht find-node {digits} {endpoint}")), table);
    }
    desk.fails(&format!("dht find-node cap {endpoint}"), 2, "64 hexadecimal digits, got \"cap\"");
    let nobody = "node: expected digits that one member's id begins with";
    desk.fails(&format!("dht find-node {} {endpoint}", "7".repeat(63)), 2, nobody);
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
    desk.fails(&at("kv get nowhere"), 1, "error: the key \"nowhere\" has no value");
    desk.fails(&at("dht get nowhere"), 1, "error: the key \"nowhere\" has no record");
    assert!(desk.ok(&at("cluster status")).contains("slots     256, 1 member each\n"));
    desk.fails("usage ports --endpoint nowhere", 2, "expected https://HOST:PORT or http://");
    assert!(!desk.path("cloakroom.redb").exists(), "no data file was made");
}

/// Another node finds it there, though it listens on all addresses.
#[test]
fn a_node_that_listens_everywhere_tells_where_it_is_reached() {
    let desk = Desk::new();
    let (_cluster, addresses) = dev_cluster(&desk, 1);
    desk.ok("cert issue cloakroom-dev d");
    let serve = "serve --folder cloakroom-dev/d --http 127.0.0.1:0 --listen 0.0.0.0:";
    desk.fails(&format!("{serve}0"), 2, "expected --advertise");
    desk.fails(&format!("{serve}0 --advertise 0.0.0.0:7"), 2, "expected --advertise");
    let port = std::net::UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let newcomer = Serving::of(&desk, &format!("{serve}{port} --advertise 127.0.0.1:{port}"));
    let at = format!("--endpoint http://{}", newcomer.address);
    desk.ok(&format!("cluster join --zone d --through http://{} {at}", addresses[0]));
    let members = desk.json(&format!("cluster members {at}"));
    let zones = members.as_array().unwrap().iter();
    let newcomer = zones.into_iter().find(|member| member["zone"] == "d").unwrap();
    assert_eq!(newcomer["address"], format!("127.0.0.1:{port}"));
    let node = newcomer["node"].as_str().unwrap();
    let pinged = desk.json(&format!("dht ping {node} --endpoint http://{}", addresses[0]));
    assert_eq!(pinged["address"], newcomer["address"]);
}

#[test]
fn a_record_is_served_after_kill_9_of_its_only_holder() {
    let desk = Desk::new();
    let mut serving = Serving::start(&desk);
    desk.ok(&format!("dht put cap green --endpoint http://{}", serving.address));
    serving.signal("-KILL");
    let again = Serving::start(&desk);
    let read = format!("dht get cap --endpoint http://{}", again.address);
    assert_eq!(desk.ok(&read), "green\n");
}

/// It was killed in the life that the copy is older than: what it wrote at its end it had no time to note.
#[test]
fn a_data_file_that_was_rolled_back_after_kill_9_is_noticed_and_answers_nothing() {
    let desk = Desk::new();
    let mut serving = Serving::start(&desk);
    let at = |serving: &Serving, line: &str| {
        format!("{line} --endpoint http://{} --deadline-ms 2000", serving.address)
    };
    desk.ok(&at(&serving, "kv put-if-absent coat red"));
    serving.signal("-TERM");
    let (file, copy) = (desk.path("cloakroom-node/node.redb"), desk.path("copy"));
    std::fs::copy(&file, &copy).unwrap();
    let mut serving = Serving::start(&desk);
    desk.ok(&at(&serving, "kv cas coat 1 blue"));
    serving.signal("-KILL");
    std::fs::copy(&copy, &file).unwrap();
    let mut serving = Serving::start(&desk);
    desk.fails(&at(&serving, "kv get coat"), 1, "");
    serving.signal("-TERM");
    let mut said = String::new();
    serving.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("older copy than this node has had"), "{said}");
    assert!(desk.path("cloakroom-node/node.redb.rolled-back-1").is_file());
}

#[test]
fn bench_measures_ids_and_keys_and_leaves_nothing_behind_also_after_ctrl_c() {
    let desk = Desk::new();
    let serving = Serving::start(&desk);
    let at = |command: &str| format!("{command} --endpoint http://{}", serving.address);
    let of_pool = "--size 32 --fanout 4 --block 4 --occupancy 50 --clients 2";
    let report = desk.json(&at(&format!("bench --duration 1 {of_pool}")));
    let row =
        |number: usize, name: &str| report["runs"][0]["calls"][number][name].as_f64().unwrap();
    assert_eq!(
        (&report["runs"][0]["held_before"], &report["interrupted"]),
        (&16.into(), &false.into())
    );
    assert!(row(0, "done") > 0.0 && row(1, "done") > 0.0, "{report}");
    assert!(row(0, "p50_ms") <= row(0, "p99_ms") && row(0, "p99_ms") <= row(0, "max_ms"));
    // A cluster of one asks nobody else.
    assert_eq!(report["runs"][0]["all_rounds_per_call"], 0.0);
    assert_eq!((row(0, "round_trips_p50"), row(1, "round_trips_p50")), (0.0, 0.0));
    let table = desk.ok(&at("bench --duration 1 --workload keys --clients 1,2"));
    assert!(table.starts_with("CLIENTS ") && table.contains("\n2        replace "), "{table}");
    // A long one is told to end as soon as it has begun.
    let mut command = desk.command(&at(&format!("bench --duration 600 {of_pool} --output json")));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while desk.json(&at("pool list")).as_array().unwrap().is_empty() {
        assert!(begun.elapsed() < Duration::from_mins(1), "it makes no pool");
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert!(report["left_behind"].is_null(), "{report}");
    assert!(desk.json(&at("pool list")).as_array().unwrap().is_empty(), "it is gone");
    desk.fails("bench --occupancy 101", 2, "expected 0 to 100");
}
