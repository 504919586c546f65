//! 52 histories that Jepsen recorded of etcd, with the verdicts that others found: LIN-1, LIN-2.
//!
//! They are not ours to ship. They are looked for where `CLOAKROOM_JEPSEN` says, or beside the
//! repository; where they are not, the test says so past the capture of its output.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cloakroom_lincheck::Limit;
use cloakroom_lincheck::format::{Format, Trace};
use cloakroom_lincheck::report::{Word, report};

fn folder() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/jepsen-etcd");
    std::env::var_os("CLOAKROOM_JEPSEN").map_or(beside, PathBuf::from)
}

fn say(message: &str) {
    std::io::stderr().write_all(message.as_bytes()).expect("stderr");
}

#[test]
fn the_judge_agrees_with_the_known_verdicts_on_etcd() {
    let folder = folder();
    let Ok(verdicts) = std::fs::read_to_string(folder.join("verdicts.json")) else {
        say(&format!("NOT RUN: no {}/verdicts.json (set CLOAKROOM_JEPSEN)\n", folder.display()));
        return;
    };
    let verdicts: BTreeMap<String, bool> = serde_json::from_str(&verdicts).unwrap();
    let begun = Instant::now();
    let mut wrong = Vec::new();
    for (file, &expected) in &verdicts {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let trace = Trace::parse(&text, Some(Format::JepsenEtcd))
            .unwrap_or_else(|error| panic!("{file}:{error}"));
        let report = report(&trace, Limit::default(), &mut |_, _, _| {});
        let verdict = if expected { Word::Linearizable } else { Word::Not };
        if report.verdict != verdict {
            wrong.push(format!("{file}: expected {verdict:?}, got {:?}", report.verdict));
        }
    }
    let took = begun.elapsed();
    let right = verdicts.len() - wrong.len();
    say(&format!("jepsen-etcd: {right} of {} right in {took:.2?}\n", verdicts.len()));
    assert_eq!(verdicts.len(), 52);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(took < Duration::from_secs(10), "{took:?}");
}
