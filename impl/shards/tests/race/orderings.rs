//! Every ordering earns its place: each is weakened by one step, each fence left out, and a named
//! search must fail. `orderings.txt` says which, or why none can.
//!
//! ```text
//! file | function | access | ordering -> weaker | killed | search | how it fails
//! file | function | access | ordering -> weaker | survives | why
//! ```
//!
//! * the orderings are found in the text of `src`, but for `src/sync`, which is not what ships; no
//!   ordering can be left out of the table, nor stay in it;
//! * nothing is built anew: the shim of a checked build weakens the ordering of one call, found by
//!   its position (`sync::Weaker`). The positions that it meets must be those of the text;
//! * Relaxed has nothing weaker.
//!
//! The table is written by `CLOAKROOM_PIN=1 cargo test -p cloakroom-shards --test race orderings`:
//! why something survives is written by hand, and kept.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use cloakroom_shards::sync::{Mode, Ordering, Plan, Role, Site, Weaker, seen, watch};

use crate::explore::{plan, scenario, variable};
use crate::scenario::Reclaimer;
use crate::scenarios::SCENARIOS;
use crate::searches;

/// An ordering in the text, and something weaker.
#[derive(Clone, Debug)]
pub(crate) struct Weakening {
    pub(crate) weaker: Weaker,
    /// What it is called in the table: it stays the same when lines move.
    pub(crate) name: String,
}

/// An atomic access or fence in the text.
#[derive(Debug)]
struct Access {
    /// Position of the method's name.
    site: Site,
    function: String,
    /// The method, and the how manieth in its function.
    method: String,
    orders: Vec<(Role, Ordering)>,
}

const ORDERS: [(&str, Ordering); 5] = [
    ("Relaxed", Ordering::Relaxed),
    ("Acquire", Ordering::Acquire),
    ("Release", Ordering::Release),
    ("AcqRel", Ordering::AcqRel),
    ("SeqCst", Ordering::SeqCst),
];

fn roles(method: &str) -> &'static [Role] {
    match method {
        "load" => &[Role::Load],
        "store" => &[Role::Store],
        "fence" | "light" | "heavy" => &[Role::Fence],
        "compare_exchange" | "compare_exchange_weak" => &[Role::Success, Role::Failure],
        _ => &[Role::Rmw],
    }
}

/// One step weaker, in every direction; `None` is no fence at all.
fn steps(role: Role, order: Ordering) -> Vec<Option<Ordering>> {
    let some = |all: &[Ordering]| all.iter().copied().map(Some).collect();
    match (role, order) {
        (Role::Fence, Ordering::SeqCst) => vec![Some(Ordering::AcqRel), None],
        (Role::Fence, _) => vec![None],
        (Role::Load | Role::Failure, Ordering::SeqCst) => some(&[Ordering::Acquire]),
        (Role::Store, Ordering::SeqCst) => some(&[Ordering::Release]),
        (_, Ordering::SeqCst) => some(&[Ordering::AcqRel]),
        (_, Ordering::AcqRel) => some(&[Ordering::Acquire, Ordering::Release]),
        (_, Ordering::Acquire | Ordering::Release) => some(&[Ordering::Relaxed]),
        _ => Vec::new(),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Source files with accesses of what ships, sorted.
fn files() -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src") {
            let path = entry.expect("src").path();
            if path.is_dir() && !path.ends_with("src/sync") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort_unstable();
    files
}

/// The text with comments and strings as blanks, up to its unit tests; positions stay.
fn code(text: &str) -> Vec<u8> {
    let own = text.find("#[cfg(test)]").unwrap_or(text.len());
    let mut code = text.as_bytes()[..own].to_vec();
    let (mut comment, mut string) = (false, false);
    for at in 0..code.len() {
        match code[at] {
            b'\n' => comment = false,
            b'/' if !string && code.get(at + 1) == Some(&b'/') => comment = true,
            b'"' if !comment && code[at.saturating_sub(1)] != b'\'' => string = !string,
            _ => {}
        }
        if (comment || string) && code[at] != b'\n' {
            code[at] = b' ';
        }
    }
    code
}

/// The identifier that ends before `end`, and where it begins.
fn word_before(code: &[u8], end: usize) -> (usize, &str) {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = code[..end].iter().rev().take_while(|byte| part(byte)).count();
    (end - length, std::str::from_utf8(&code[end - length..end]).expect("ASCII"))
}

/// Where the call begins in whose arguments `at` stands: its opening parenthesis.
fn call_around(code: &[u8], at: usize) -> usize {
    let mut depth = 0;
    for (position, byte) in code[..at].iter().enumerate().rev() {
        match byte {
            b')' | b'}' | b']' => depth += 1,
            b'(' | b'{' | b'[' if depth == 0 => return position,
            b'(' | b'{' | b'[' => depth -= 1,
            _ => {}
        }
    }
    panic!("an ordering outside of a call")
}

fn positions(code: &[u8], wanted: &str) -> Vec<usize> {
    let windows = code.windows(wanted.len()).enumerate();
    windows.filter(|(_, window)| *window == wanted.as_bytes()).map(|(at, _)| at).collect()
}

/// The function in which `at` stands.
fn function_around(code: &[u8], at: usize) -> String {
    let last = positions(&code[..at], "fn ")
        .into_iter()
        .rev()
        .find(|&at| at == 0 || !(code[at - 1].is_ascii_alphanumeric() || code[at - 1] == b'_'));
    let start = last.expect("an access stands in a function") + 3;
    let part = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    String::from_utf8(code[start..].iter().take_while(part).copied().collect()).expect("ASCII")
}

/// All accesses of a file, in the order of the text.
fn accesses(path: &Path) -> Vec<Access> {
    let code = code(&fs::read_to_string(path).expect("a source file"));
    let mut calls: Vec<(usize, Ordering)> = Vec::new();
    for at in positions(&code, "Ordering::") {
        let (_, order) = ORDERS
            .iter()
            .find(|(name, _)| code[at + "Ordering::".len()..].starts_with(name.as_bytes()))
            .expect("an ordering");
        calls.push((call_around(&code, at), *order));
    }
    // Their ordering stands in the shim.
    for fence in [".light(", ".heavy("] {
        let opens = positions(&code, fence).into_iter().map(|at| at + fence.len() - 1);
        calls.extend(opens.map(|at| (at, Ordering::SeqCst)));
    }
    calls.sort_by_key(|&(at, _)| at);
    let workspace = root().ancestors().nth(2).expect("impl/shards");
    let file = path.strip_prefix(workspace).expect("in the workspace").display().to_string();
    let mut all: Vec<Access> = Vec::new();
    let mut last = None;
    for (open, order) in calls {
        let (start, method) = word_before(&code, open);
        if last == Some(open) {
            let access = all.last_mut().expect("the call's first ordering");
            let role = roles(method)[access.orders.len()];
            access.orders.push((role, order));
            continue;
        }
        last = Some(open);
        let (line, column) = position(&code, start);
        let function = function_around(&code, start);
        let same = |access: &&Access| {
            access.function == function && access.method.split(' ').next() == Some(method)
        };
        let number = all.iter().filter(same).count() + 1;
        let role = roles(method)[0];
        all.push(Access {
            site: Site { file: file.clone(), line, column, role },
            function,
            method: format!("{method} {number}"),
            orders: vec![(role, order)],
        });
    }
    all
}

/// Line and column, both from 1, as the compiler has them.
fn position(code: &[u8], at: usize) -> (u32, u32) {
    let before =
        std::str::from_utf8(&code[..at]).expect("ASCII, but for comments, which are blanks");
    let line = before.matches('\n').count() + 1;
    let column = at - before.rfind('\n').map_or(0, |at| at + 1) + 1;
    let small = |number: usize| u32::try_from(number).expect("a source file's line and column");
    (small(line), small(column))
}

fn word(order: Ordering) -> &'static str {
    ORDERS.iter().find(|(_, it)| *it == order).expect("an ordering of std").0
}

/// Every ordering of what ships, with everything one step weaker.
pub(crate) fn weakenings() -> Vec<Weakening> {
    let mut all = Vec::new();
    for access in files().iter().flat_map(|path| accesses(path)) {
        let file = access.site.file.trim_start_matches("impl/shards/src/");
        for &(role, order) in &access.orders {
            for step in steps(role, order) {
                let part = match role {
                    Role::Success => ", success",
                    Role::Failure => ", failure",
                    _ => "",
                };
                let weaker = step.map_or("none", word);
                let name = format!(
                    "{file} | {} | {}{part} | {} -> {weaker}",
                    access.function,
                    access.method,
                    word(order)
                );
                let site = Site { role, ..access.site.clone() };
                all.push(Weakening { weaker: Weaker { site, order: step }, name });
            }
        }
    }
    all
}

/// Every site in the text, with roles as the shim has them.
pub(crate) fn sites() -> Vec<Site> {
    let all = files();
    let all = all.iter().flat_map(|path| accesses(path));
    all.flat_map(|access| {
        let site = access.site.clone();
        access.orders.into_iter().map(move |(role, _)| Site { role, ..site.clone() })
    })
    .collect()
}

/// A site or weakening in one word, for a child's environment.
fn encode(weaker: &Weaker) -> String {
    let Site { file, line, column, role } = &weaker.site;
    format!("{file}:{line}:{column}:{role:?}:{}", weaker.order.map_or("none", word))
}

impl fmt::Display for Weakening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.weaker))
    }
}

/// In a checked build: which sites the scenarios meet.
pub(crate) fn leave_sites() {
    watch(true);
    for scenario in SCENARIOS.iter() {
        for mode in [Mode::Plain, Mode::Failing] {
            let plan = Plan { most: Some(300), preemptions: Some(2), ..plan(mode) };
            crate::explore::exploration(scenario, Reclaimer::Epoch, &plan);
        }
    }
    let plan = Plan { most: Some(300), preemptions: Some(0), ..plan(Mode::Plain) };
    crate::explore::exploration(scenario("retire pin"), Reclaimer::Crossbeam, &plan);
    let seen: Vec<String> = seen().iter().map(|site| format!("{site:?}")).collect();
    let path = variable("CLOAKROOM_SITES").expect("where to write the sites");
    fs::write(path, seen.join("\n")).expect("the file of sites");
}

/// In a checked build: searches with one ordering weakened, which the environment names: the search
/// that it names, or all of the set, the cheap ones first.
pub(crate) fn weaken() {
    let wanted = variable("CLOAKROOM_WEAKER").expect("which ordering");
    let all = weakenings();
    let weaker = &all.iter().find(|it| it.to_string() == wanted).expect("in the text").weaker;
    let named = variable("CLOAKROOM_SEARCH");
    let set = crate::explore::set();
    let among = variable("CLOAKROOM_AMONG").unwrap_or_default();
    let mut rows: Vec<_> = searches::all()
        .into_iter()
        .filter(|row| searches::ours(row.search))
        .filter(|row| named.as_ref().map_or(row.set <= set, |named| row.name() == *named))
        .filter(|row| named.is_some() || row.scenario.contains(&among))
        .collect();
    assert!(!rows.is_empty(), "no search is named {named:?}");
    rows.sort_by_key(|row| row.executions);
    for row in rows {
        eprintln!("search: {}", row.name());
        let plan = Plan { weaker: Some(weaker.clone()), ..row.plan() };
        crate::explore::exploration(scenario(&row.scenario), row.reclaimer, &plan);
    }
}
