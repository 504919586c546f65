//! The page in a real browser: no script error, no empty chart, in light and in dark.
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
use std::path::Path;
use std::process::{Command, Stdio};

/// And how many thousandths of its area are drawn on at least, in the run that is looked at. Text and a grid
/// alone take 20, bars without height 46 and 56.
const CHARTS: [(&str, usize); 6] = [
    ("ring", 100),
    ("waterfall", 110),
    ("timeline", 220),
    ("hops", 220),
    ("latency", 66),
    ("load", 280),
];
const SIZE: (usize, usize) = (1440, 1800);

/// A picture, three bytes to a pixel.
struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

fn browser() -> Option<OsString> {
    let required = std::env::var_os("CLOAKROOM_CHROMIUM").filter(|name| !name.is_empty());
    let name = required.clone().unwrap_or_else(|| "chromium".into());
    let found = Command::new(&name).arg("--version").output().is_ok();
    assert!(found || required.is_none(), "no browser at {}", name.display());
    found.then_some(name)
}

fn visit(browser: &OsString, page: &Path, shown: &str, more: &[String]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .args(["--no-first-run", "--disable-dev-shm-usage", "--virtual-time-budget=4000"])
        .arg(format!("--window-size={},{}", SIZE.0, SIZE.1))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(more)
        .arg(format!("file://{}#{shown}", page.display()))
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "the browser failed: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn picture(path: &Path) -> Picture {
    let mut decoder = png::Decoder::new(BufReader::new(File::open(path).unwrap()));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().unwrap();
    let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut buffer).unwrap();
    let samples = info.color_type.samples();
    assert!(samples >= 3, "a picture in colour");
    let pixels = buffer.chunks_exact(samples).flat_map(|pixel| pixel[..3].to_vec()).collect();
    Picture { width: info.width as usize, height: info.height as usize, pixels }
}

impl Picture {
    fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * 3;
        self.pixels[at..at + 3].try_into().unwrap()
    }

    /// Within a part: how many colours there are, and how many pixels in a thousand are not of
    /// the most common one.
    fn drawn(&self, [left, top, width, height]: [usize; 4]) -> (usize, usize) {
        let mut all = Vec::new();
        for y in top..(top + height).min(self.height) {
            for x in left..(left + width).min(self.width) {
                all.push(self.pixel(x, y));
            }
        }
        assert!(!all.is_empty(), "the part lies within the picture");
        all.sort_unstable();
        let most = all.chunk_by(|one, other| one == other).map(<[_]>::len).max().unwrap();
        let colors: BTreeSet<_> = all.iter().collect();
        (colors.len(), 1000 - most * 1000 / all.len())
    }
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

#[test]
fn the_page_has_no_script_error_and_no_empty_chart_in_light_and_in_dark() {
    let Some(browser) = browser() else {
        // Past the capture of a test's output.
        let words = "NOT RUN: there is no chromium to look at the page";
        writeln!(std::io::stderr(), "{words}").expect("stderr");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    write(
        &page,
        "--nodes 200 --lookups 600 --reads 300 --records 50 --minutes 10 --churn 100%/h --malicious 10%",
    );
    let mut grounds = Vec::new();
    for theme in ["light", "dark"] {
        let shown = format!("theme={theme}");
        let document = visit(&browser, &page, &shown, &["--dump-dom".into()]);
        let root = "data-errors=";
        assert_eq!(attribute(&document, root, "data-errors"), "", "script errors");
        assert_eq!(attribute(&document, root, "data-ready"), "yes", "the script ran to its end");
        reads_well(&document);
        let shot = folder.path().join(format!("{theme}.png"));
        visit(&browser, &page, &shown, &[format!("--screenshot={}", shot.display())]);
        let picture = picture(&shot);
        assert_eq!((picture.width, picture.height), SIZE);
        grounds.push(picture.pixel(3, 3).map(u32::from).iter().sum::<u32>());
        for (chart, least) in CHARTS {
            let mark = format!("data-chart=\"{chart}\"");
            let marks: usize = attribute(&document, &mark, "data-marks").parse().unwrap();
            assert!(marks >= 2, "{chart}: {marks} marks");
            let numbers = attribute(&document, &mark, "data-rect");
            let part: Vec<usize> = numbers.split(' ').map(|text| text.parse().unwrap()).collect();
            let (colors, share) = picture.drawn(part.try_into().unwrap());
            assert!(
                colors > 25 && share > least,
                "{theme} {chart}: {colors} colours, {share} ‰ drawn, less than {least}"
            );
        }
    }
    assert!(grounds[0] > 600 && grounds[1] < 150, "light and dark differ: {grounds:?}");
    slide(&browser, &page, folder.path());
    // Where nobody comes or goes, there is little to draw an axis by.
    let still = folder.path().join("still.html");
    write(&still, "--nodes 80 --lookups 100 --reads 100 --records 20 --minutes 5");
    let document = visit(&browser, &still, "", &["--dump-dom".into()]);
    assert_eq!(attribute(&document, "data-errors=", "data-errors"), "", "script errors");
    reads_well(&document);
    if let Some(keep) = std::env::var_os("CLOAKROOM_KEEP_SHOTS") {
        for name in ["page.html", "light.png", "dark.png"] {
            std::fs::copy(folder.path().join(name), Path::new(&keep).join(name)).unwrap();
        }
    }
}

/// The page of a run.
fn write(page: &Path, run: &str) {
    let run = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(run.split_whitespace())
        .arg("--html")
        .arg(page)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// It opens with the lookup of most steps, no axis has a label twice, and one hop is one.
fn reads_well(document: &str) {
    let (_, rest) = document.split_once("id=\"data\"").unwrap();
    let (json, _) = rest[rest.find('>').unwrap() + 1..].split_once("</script>").unwrap();
    let data: serde_json::Value = serde_json::from_str(json).unwrap();
    let stories = data["stories"].as_array().unwrap().iter();
    let most = stories.map(|story| story["steps"].as_array().unwrap().len()).max();
    let drawn = attribute(document, "data-chart=\"waterfall\"", "data-marks").parse().ok();
    assert_eq!(drawn, most, "the lookup that is shown first");
    for (chart, _) in CHARTS.iter().filter(|(chart, _)| *chart != "ring" && *chart != "waterfall") {
        let (_, rest) = document.split_once(&format!("data-chart=\"{chart}\"")).unwrap();
        let (svg, _) = rest.split_once("</svg>").unwrap();
        let labels = svg.split("text-anchor=\"end\">").skip(1);
        let labels: Vec<&str> = labels.map(|label| label.split('<').next().unwrap()).collect();
        let different: BTreeSet<&str> = labels.iter().copied().collect();
        assert!(labels.len() > 2 && different.len() == labels.len(), "{chart}: {labels:?}");
    }
    assert!(!document.contains(" 1 hops"), "one hop is one");
}

/// The slider over the run: its mark moves, the clock tells when, and the ring shows who was up then.
fn slide(browser: &OsString, page: &Path, folder: &Path) {
    let [begin, end] = ["time=0", "time=1"].map(|shown| {
        let document = visit(browser, page, shown, &["--dump-dom".into()]);
        assert_eq!(attribute(&document, "data-errors=", "data-errors"), "", "{shown}");
        let mark: f64 = attribute(&document, "id=\"now\"", "x1").parse().unwrap();
        let clock =
            document.split("id=\"moment\"").nth(1).and_then(|rest| rest.split("<b>").nth(1));
        let clock = clock.and_then(|rest| rest.split('<').next()).unwrap().to_owned();
        let shot = folder.join(format!("{shown}.png"));
        visit(browser, page, shown, &[format!("--screenshot={}", shot.display())]);
        let ring = attribute(&document, "data-chart=\"ring\"", "data-rect");
        let ring: Vec<usize> = ring.split(' ').map(|text| text.parse().unwrap()).collect();
        (mark, clock, picture(&shot), ring)
    });
    assert!(begin.0 + 500.0 < end.0, "the mark of time stands at {} and {}", begin.0, end.0);
    assert_eq!((begin.1.as_str(), end.1.as_str()), ("0:00", "10:00"));
    let [left, top, width, height] = end.3[..] else { panic!("{:?}", end.3) };
    let places = (left..left + width).flat_map(|x| (top..top + height).map(move |y| (x, y)));
    let other = places.filter(|&(x, y)| begin.2.pixel(x, y) != end.2.pixel(x, y)).count();
    // A node that came or went is a few dozen pixels.
    assert!(other > 200, "the ring is the same but for {other} pixels");
}
