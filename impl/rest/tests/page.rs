//! The status page in a real browser, of a node at work in a cluster of three: no script error, no empty chart, in light and in
//! dark, and other nodes are not asked for each look.
//!
//! The browser says what went wrong and where the charts are; the picture that it took says whether
//! anything is drawn there, so that the page does not judge itself.
//!
//! Says NOT RUN, loudly, where there is no chromium; `.ci/run` sets `CLOAKROOM_CHROMIUM` and so
//! requires it.
//!
//! What it does not do: know whether it looks good. People looked.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use cloakroom_kademlia::Parameters;
use cloakroom_node::Patience;
use cloakroom_register::Waits;
use cloakroom_rest::App;
use cloakroom_server::{
    Authority, Beginning, Limits, NodeDisk, NodeFolder, Place, Prepared, Server, ServerConfig,
};
use tower::ServiceExt;

const CHARTS: [&str; 4] = ["rate", "late", "slots", "map"];
const SIZE: (usize, usize) = (1280, 1600);

fn browser() -> Option<OsString> {
    let required = std::env::var_os("CLOAKROOM_CHROMIUM").filter(|name| !name.is_empty());
    let name = required.clone().unwrap_or_else(|| "chromium".into());
    let found = Command::new(&name).arg("--version").output().is_ok();
    assert!(found || required.is_none(), "no browser at {}", name.display());
    found.then_some(name)
}

fn visit(browser: &OsString, url: &str, more: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .args(["--no-first-run", "--disable-dev-shm-usage", "--virtual-time-budget=6000"])
        .arg(format!("--window-size={},{}", SIZE.0, SIZE.1))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args([more, url])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "the browser failed: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The value of an attribute of the element that has `mark` among its attributes.
fn attribute<'a>(document: &'a str, mark: &str, name: &str) -> &'a str {
    let at = document.find(mark).unwrap_or_else(|| panic!("no {mark} in the page"));
    let begin = document[..at].rfind('<').unwrap();
    let element = &document[begin..begin + document[begin..].find('>').unwrap()];
    let from = element.find(&format!("{name}=\"")).map(|at| at + name.len() + 2);
    let from = from.unwrap_or_else(|| panic!("{mark} has no {name}: {element}"));
    element[from..].split('"').next().unwrap()
}

/// Which pool's map is drawn; how many squares, ids to a square, and ids that are held.
fn map(document: &str) -> (&str, [u32; 3]) {
    let of = |name| attribute(document, "data-chart=\"map\"", name);
    (
        of("data-pool"),
        ["data-marks", "data-each", "data-held"].map(|name| of(name).parse().unwrap()),
    )
}

/// Width, and three bytes to a pixel.
fn picture(path: &Path) -> (usize, Vec<[u8; 3]>) {
    let mut decoder = png::Decoder::new(BufReader::new(File::open(path).unwrap()));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().unwrap();
    let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut buffer).unwrap();
    let samples = info.color_type.samples();
    assert!(samples >= 3, "a picture in colour");
    let pixels = buffer.chunks_exact(samples).map(|pixel| [pixel[0], pixel[1], pixel[2]]);
    (info.width as usize, pixels.collect())
}

/// Three nodes of one cluster.
struct Cluster {
    servers: Vec<Arc<Server>>,
    first: Router,
}

impl Cluster {
    fn start(folder: &Path) -> Self {
        let day = Duration::from_hours(24);
        let authority = Authority::create(&folder.join("authority")).unwrap();
        // Held together until all are known, so that no port is given twice.
        let sockets: Vec<_> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let at = |number: usize| folder.join(format!("node-{number}"));
        let founder = |(number, socket): (usize, &UdpSocket)| {
            let (address, zone) = (socket.local_addr().unwrap(), format!("zone {number}"));
            let founder = Prepared::create(&at(number), &authority, Place { address, zone }, day);
            let founder = founder.unwrap();
            NodeDisk::create(&at(number).join("node.redb"), founder.id()).unwrap();
            founder
        };
        let founders: Vec<Prepared> = sockets.iter().enumerate().map(founder).collect();
        let all: Vec<&Prepared> = founders.iter().collect();
        for number in 0..3 {
            Beginning::new(&all, 8, 3).unwrap().write(&authority, &at(number)).unwrap();
        }
        drop(sockets);
        let folders = (0..3).map(|number| NodeFolder::open(&at(number)).unwrap());
        let mut nodes: Vec<(Arc<Server>, Router)> = folders.map(open).collect();
        let first = nodes[0].1.clone();
        Self { servers: nodes.drain(..).map(|(server, _)| server).collect(), first }
    }

    async fn post(&self, path: &str, body: &str) -> u16 {
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.first.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    /// In how many colours its slots are drawn: one for each first member, lighter in its first view. One
    /// node may be the first of all: whose ids begin alike stand in one order everywhere.
    async fn colors_of_slots(&self) -> usize {
        let body = self.body("/v1/cluster/slots?limit=1024").await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let slots = body["slots"].as_array().unwrap().iter();
        let colors = slots.map(|slot| {
            (slot["members"][0].as_str().unwrap(), slot["epoch"].as_u64().unwrap() > 0)
        });
        colors.collect::<BTreeSet<_>>().len()
    }

    async fn body(&self, path: &str) -> Vec<u8> {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = self.first.clone().oneshot(request).await.unwrap();
        axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec()
    }

    /// The sum of its metrics that begin so.
    async fn counted(&self, mark: &str) -> u64 {
        let text = String::from_utf8(self.body("/metrics").await).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(mark));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// How often a path was asked for.
    async fn asked(&self, path: &str) -> u64 {
        let mark = format!("cloakroom_http_requests_total{{method=\"GET\",path=\"{path}\",");
        self.counted(&mark).await
    }

    async fn fill(&self) {
        for (pool, size, policy) in [
            ("ports", 400, "lowest_first"),
            ("vlans", 4094, "lowest_first"),
            ("gpu-slots", 64, "lowest_first"),
            ("wide", 65_536, "spread"),
        ] {
            let pool = format!(r#"{{"name":"{pool}","size":{size},"policy":"{policy}"}}"#);
            assert_eq!(self.post("/v1/pools", &pool).await, 201);
        }
        // A name that would be a script if it were taken for markup is none: pools have plain names, tags
        // do not reach the page.
        for number in 0..90 {
            let tag = format!(r#"{{"tag":"<script>throw {number}</script>"}}"#);
            for pool in ["ports", "wide", "gpu-slots"].iter().take(2 + usize::from(number < 40)) {
                let path = format!("/v1/pools/{pool}/allocations");
                assert_eq!(self.post(&path, &tag).await, 201);
            }
        }
    }
}

fn open(folder: NodeFolder) -> (Arc<Server>, Router) {
    let (own, data) = (folder.own().unwrap().contact.address, folder.data());
    let NodeFolder { credentials, genesis, .. } = folder;
    let cluster = credentials.cluster().to_owned();
    let config = ServerConfig {
        listen: own.into(),
        advertise: None,
        credentials,
        genesis: genesis.clone(),
        data,
        parameters: Parameters { subnets: None, ..Parameters::default() },
        waits: Waits::default(),
        patience: Patience::default(),
        limits: Limits::default(),
    };
    let server = Arc::new(Server::start(config).unwrap());
    let app = App::new(Arc::clone(&server), cluster, genesis);
    let router = app.clone().router();
    // Until the server has stopped.
    tokio::spawn(app.watch());
    (server, router)
}

/// Whoever opens the page after that sees it.
fn what_has_happened_before_the_page_was_opened_is_shown(
    runtime: &tokio::runtime::Runtime,
    cluster: &Cluster,
    browser: &OsString,
    url: &str,
) {
    let members: serde_json::Value =
        serde_json::from_slice(&runtime.block_on(cluster.body("/v1/cluster"))).unwrap();
    let mut members = members["members"].as_array().unwrap().iter();
    let node = members.find(|member| member["own"] == false).unwrap()["node"].as_str().unwrap();
    let text = format!("n{} drains", &node[..8]);
    runtime.block_on(async {
        assert_eq!(cluster.post(&format!("/v1/cluster/members/{node}/drain"), "").await, 200);
        let begun = Instant::now();
        let events = async || cluster.body("/v1/cluster/events").await;
        while !String::from_utf8_lossy(&events().await).contains(&text) {
            assert!(begun.elapsed() < Duration::from_mins(1), "it is not noted");
            tokio::task::yield_now().await;
        }
    });
    let document = visit(browser, url, "--dump-dom");
    assert_eq!(attribute(&document, "data-errors=", "data-errors"), "", "script errors");
    assert!(document.contains(&text), "{document}");
}

/// Each page that is open asks for it each second, and so does whoever watches the node.
#[tokio::test]
async fn however_many_ask_whether_a_node_is_ready_a_majority_is_asked_once_a_second() {
    let home = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(home.path());
    assert_eq!(cluster.post("/v1/pools", r#"{"name":"p","size":9}"#).await, 201);
    let trips = || cluster.counted("cloakroom_register_round_trips_total ");
    let (before, begun) = (trips().await, Instant::now());
    assert!(before > 0, "a creation asks others");
    for _ in 0..200 {
        assert_eq!(cluster.body("/readyz").await, br#"{"ready":true}"#);
    }
    let (made, seconds) = (trips().await - before, begun.elapsed().as_secs());
    assert!(made <= 3 * (seconds + 1), "{made} in {seconds} s");
    for server in &cluster.servers {
        server.stop().await;
    }
}

/// Each has marks, and in the picture at least as many colours as it must.
fn no_chart_is_empty(theme: &str, document: &str, pixels: (usize, &[[u8; 3]]), slots: usize) {
    let (width, pixels) = pixels;
    for chart in CHARTS {
        let mark = format!("data-chart=\"{chart}\"");
        let marks: usize = attribute(document, &mark, "data-marks").parse().unwrap();
        assert!(marks >= 2, "{theme} {chart}: {marks} marks");
        let numbers = attribute(document, &mark, "data-rect").split(' ');
        let part: Vec<usize> = numbers.map(|text| text.parse().unwrap()).collect();
        let rows = part[1]..part[1] + part[3];
        let within = rows.flat_map(|y| &pixels[y * width + part[0]..][..part[2]]);
        let colors: BTreeSet<&[u8; 3]> = within.collect();
        // With the ground's.
        let least = if chart == "slots" { 1 + slots } else { 3 };
        assert!(colors.len() >= least, "{theme} {chart}: {} colours", colors.len());
    }
}

fn a_chosen_pool_is_drawn_and_what_is_dear_is_seldom_asked_for(
    runtime: &tokio::runtime::Runtime,
    cluster: &Cluster,
    browser: &OsString,
    url: &str,
) {
    let paths = ["/v1/pools", "/v1/pools/{pool}/usage", "/v1/pools/{pool}/allocations", "/metrics"];
    let asked = || async {
        let mut asked = Vec::new();
        for path in paths {
            asked.push(cluster.asked(path).await);
        }
        asked
    };
    let before = runtime.block_on(asked());
    let document = visit(browser, &format!("{url}#theme=light&pool=wide"), "--dump-dom");
    let after = runtime.block_on(asked());
    assert_eq!(attribute(&document, "data-errors=", "data-errors"), "", "script errors");
    // More ids than squares: each stands for several.
    assert_eq!(map(&document), ("wide", [2048, 32, 90]));
    // Six seconds: what asks other nodes is asked for twice, what does not each second.
    let times: Vec<u64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    assert!((1..=2).contains(&times[0]) && times[1] <= 4 * times[0], "{times:?}");
    assert!((1..=2).contains(&times[2]) && times[3] >= 4, "{times:?}");
}

#[test]
fn the_status_page_has_no_script_error_and_no_empty_chart_in_light_and_in_dark() {
    let Some(browser) = browser() else {
        // Past the capture of a test's output.
        let words = "NOT RUN: there is no chromium to look at the page";
        writeln!(std::io::stderr(), "{words}").expect("stderr");
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let home = tempfile::tempdir().unwrap();
    let cluster = runtime.block_on(async { Cluster::start(home.path()) });
    runtime.block_on(cluster.fill());
    let listening = cloakroom_rest::listen(([127, 0, 0, 1], 0).into());
    let listening = runtime.block_on(listening).unwrap();
    let url = format!("http://{}/", listening.address());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let router = cluster.first.clone();
    let serving = runtime.spawn(async move {
        let ended = async { drop(ended.await) };
        listening.serve(router, ended).await;
    });
    let folder = tempfile::tempdir().unwrap();
    let slots = runtime.block_on(cluster.colors_of_slots());
    let mut grounds = Vec::new();
    for theme in ["light", "dark"] {
        let url = format!("{url}#theme={theme}");
        let document = visit(&browser, &url, "--dump-dom");
        assert_eq!(attribute(&document, "data-errors=", "data-errors"), "", "script errors");
        assert_eq!(
            attribute(&document, "data-errors=", "data-ready"),
            "yes",
            "it has looked twice"
        );
        assert!(document.contains(">ready<") && document.contains("(this node)"), "{document}");
        // Members and their health, pools as bars, and what has happened since it was opened.
        assert_eq!(document.matches("class=\"dot good\"").count(), 1 + 3, "{document}");
        assert!(document.matches("class=\"bar\"").count() == 4, "{document}");
        // The first pool by name, of which each id is a square; any other can be chosen.
        assert_eq!(map(&document), ("gpu-slots", [64, 1, 40]));
        assert_eq!(attribute(&document, "id=\"map-pool\"", "data-options"), "4");
        let events: usize = attribute(&document, "id=\"events\"", "data-marks").parse().unwrap();
        assert!(
            events >= 2 && document.contains("opened: members 3, slots 8, ready"),
            "{document}"
        );
        assert!(document.contains("this node has started"), "{document}");
        let shot = folder.path().join(format!("{theme}.png"));
        visit(&browser, &url, &format!("--screenshot={}", shot.display()));
        let (width, pixels) = picture(&shot);
        assert_eq!((width, pixels.len()), (SIZE.0, SIZE.0 * SIZE.1));
        grounds.push(pixels[3 * width + 3].map(u32::from).iter().sum::<u32>());
        no_chart_is_empty(theme, &document, (width, &pixels), slots);
    }
    a_chosen_pool_is_drawn_and_what_is_dear_is_seldom_asked_for(&runtime, &cluster, &browser, &url);
    what_has_happened_before_the_page_was_opened_is_shown(&runtime, &cluster, &browser, &url);
    assert!(grounds[0] > 600 && grounds[1] < 150, "light and dark differ: {grounds:?}");
    drop(end);
    runtime.block_on(serving).unwrap();
    for server in &cluster.servers {
        runtime.block_on(server.stop());
    }
    if let Some(keep) = std::env::var_os("CLOAKROOM_KEEP_SHOTS") {
        for name in ["light.png", "dark.png"] {
            let to = Path::new(&keep).join(format!("status-{name}"));
            std::fs::copy(folder.path().join(name), to).unwrap();
        }
    }
}
