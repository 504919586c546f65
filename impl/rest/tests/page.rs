//! The status page in a real browser, of a node at work: no script error, no empty chart, in light and in
//! dark.
//!
//! The browser says what went wrong and where the charts are; the picture that it took says whether
//! anything is drawn there, so that the page does not judge itself.
//!
//! Says NOT RUN, loudly, where there is no chromium; `.ci/run` sets `CLOAKROOM_CHROMIUM` and so
//! requires it.
//!
//! What it does not do: know whether it looks good. People looked.

#[path = "rest/node.rs"]
// The other half of it is used by the other test.
#[allow(dead_code)]
mod node;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use node::Node;

const CHARTS: [&str; 3] = ["rate", "slots", "map"];
const SIZE: (usize, usize) = (1280, 1400);

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

fn fill(node: &Node, runtime: &tokio::runtime::Runtime) {
    runtime.block_on(async {
        node.post("/v1/pools", r#"{"name":"ports","size":400}"#).await;
        // A name that would be a script if it were taken for markup is none: pools have plain names, tags
        // do not reach the page.
        for number in 0..90 {
            let tag = format!(r#"{{"tag":"<script>throw {number}</script>"}}"#);
            node.post("/v1/pools/ports/allocations", &tag).await;
        }
    });
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
    let node = runtime.block_on(async { Node::start() });
    fill(&node, &runtime);
    let listening = cloakroom_rest::listen(([127, 0, 0, 1], 0).into());
    let listening = runtime.block_on(listening).unwrap();
    let url = format!("http://{}/", listening.address());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let router = node.router();
    let serving = runtime.spawn(async move {
        let ended = async { drop(ended.await) };
        listening.serve(router, ended).await;
    });
    let folder = tempfile::tempdir().unwrap();
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
        let shot = folder.path().join(format!("{theme}.png"));
        visit(&browser, &url, &format!("--screenshot={}", shot.display()));
        let (width, pixels) = picture(&shot);
        assert_eq!((width, pixels.len()), (SIZE.0, SIZE.0 * SIZE.1));
        grounds.push(pixels[3 * width + 3].map(u32::from).iter().sum::<u32>());
        for chart in CHARTS {
            let mark = format!("data-chart=\"{chart}\"");
            let marks: usize = attribute(&document, &mark, "data-marks").parse().unwrap();
            assert!(marks >= 2, "{chart}: {marks} marks");
            let numbers = attribute(&document, &mark, "data-rect").split(' ');
            let part: Vec<usize> = numbers.map(|text| text.parse().unwrap()).collect();
            let rows = part[1]..part[1] + part[3];
            let within = rows.flat_map(|y| &pixels[y * width + part[0]..][..part[2]]);
            let colors: BTreeSet<&[u8; 3]> = within.collect();
            assert!(colors.len() >= 3, "{theme} {chart}: {} colours", colors.len());
        }
    }
    assert!(grounds[0] > 600 && grounds[1] < 150, "light and dark differ: {grounds:?}");
    drop(end);
    runtime.block_on(serving).unwrap();
    if let Some(keep) = std::env::var_os("CLOAKROOM_KEEP_SHOTS") {
        for name in ["light.png", "dark.png"] {
            let to = Path::new(&keep).join(format!("status-{name}"));
            std::fs::copy(folder.path().join(name), to).unwrap();
        }
    }
}
