//! The shards' tables of `specs/CLAIMS.md`, from the tables that their race test holds to.
//!
//! Invariants:
//! * nothing is run here: a number that is not what a search takes fails `impl/shards/tests/race`,
//!   and so does an ordering whose search does not fail when it is weakened;
//! * a search that is in no table is in no claim.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A line of `searches.txt`.
struct Search<'a> {
    scenario: &'a str,
    reclaimer: &'a str,
    kind: &'a str,
    /// Bound on preemptions, and executions.
    extent: String,
    executions: usize,
}

/// A scenario with a reclaimer, and its searches by kind.
type Row<'a> = ((&'a str, &'a str), BTreeMap<&'a str, Search<'a>>);

/// The columns of the table, in `searches.txt`'s words.
const KINDS: [&str; 4] = ["plain", "rmw", "failing", "dfs"];

fn search(line: &str) -> Result<Search<'_>, String> {
    let cells: Vec<&str> = line.split(" | ").collect();
    let [scenario, reclaimer, kind, bound, executions, _set] = cells[..] else {
        return Err(format!("searches.txt: expected six cells: {line}"));
    };
    let count = executions.parse().map_err(|_| format!("searches.txt: no number: {line}"))?;
    let extent = if bound == "none" {
        format!("**{executions}**")
    } else {
        format!("{executions} ≤{bound}")
    };
    Ok(Search { scenario, reclaimer, kind, extent, executions: count })
}

/// Both sections.
///
/// # Errors
/// When a table cannot be read.
pub(crate) fn sections(root: &Path) -> Result<String, String> {
    let read = |name: &str| {
        let path = root.join("impl/shards/tests/race").join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let mut text = String::new();
    searches(&mut text, &read("searches.txt")?)?;
    orderings(&mut text, &read("orderings.txt")?)?;
    Ok(text)
}

fn searches(text: &mut String, table: &str) -> Result<(), String> {
    text.push_str(
        "\n## EXHAUSTIVE within bounds: the shards under loom and shuttle\n\n\
         Object: `impl/shards` as it ships, but for the sizes in `src/bounds.rs`. Executions of the \
         largest pinned search: **bold** without a bound, else with\nat most so many preemptions. \
         *plain*, *rmw*, *failing* are loom's: with old values; with loads as exchanges; with \
         exchanges that fail as std allows.\n*dfs* is shuttle's depth-first search. *still* is a \
         reclaimer whose guards make no step, so that nothing hides a lost edge. Every history is \
         judged by\n`specs/src/map.rs`, and loom saw every outcome that shuttle saw, sampled \
         schedules included.\n\n\
         Command: `CLOAKROOM_SET=deep cargo test -p cloakroom-shards --test race` (`whole`: those up \
         to 4,000 executions; not set: up to 1,000). These numbers\nare pinned there, and not run for \
         this table. Would miss: what needs more threads, steps, slots or preemptions; loom's own \
         holes.\n\n\
         | scenario | reclaimer | plain | rmw | failing | dfs |\n|---|---|---:|---:|---:|---:|\n",
    );
    // In the order of the file; the largest search of a kind.
    let mut rows: Vec<Row> = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let found = search(line)?;
        let name = (found.scenario, found.reclaimer);
        if rows.last().is_none_or(|(last, _)| *last != name) {
            rows.push((name, BTreeMap::new()));
        }
        let (_, kinds) = rows.last_mut().expect("just pushed");
        let larger = kinds.get(found.kind).is_none_or(|old| old.executions < found.executions);
        if larger {
            kinds.insert(found.kind, found);
        }
    }
    for ((scenario, reclaimer), kinds) in rows {
        let cells: Vec<&str> =
            KINDS.iter().map(|kind| kinds.get(kind).map_or("", |found| &*found.extent)).collect();
        writeln!(text, "| {scenario} | {reclaimer} | {} |", cells.join(" | "))
            .expect("a String takes all");
    }
    Ok(())
}

fn orderings(text: &mut String, table: &str) -> Result<(), String> {
    let (mut killed, mut survive) = (String::new(), String::new());
    let (mut kills, mut survivors) = (0, 0);
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split(" | ").collect();
        match cells[..] {
            [file, function, access, change, "killed", scenario, reclaimer, kind, bound, how] => {
                kills += 1;
                writeln!(
                    killed,
                    "| `{file}` | `{function}` | {access} | {change} | {scenario}; {reclaimer}, \
                     {kind}, {bound} | {how} |"
                )
            }
            [file, function, access, change, "survives", why] => {
                survivors += 1;
                writeln!(survive, "| `{file}` | `{function}` | {access} | {change} | {why} |")
            }
            _ => return Err(format!("orderings.txt: neither killed nor survives: {line}")),
        }
        .expect("a String takes all");
    }
    write!(
        text,
        "\n## Orderings that must not be weaker\n\n\
         Each ordering of each atomic access and fence in `impl/shards/src` but its `sync`, one step weaker, each \
         fence also left out: {kills} fail a search, which is named with\nits reclaimer, kind and \
         bound; {survivors} survive. Relaxed has nothing weaker. The orderings are found in the text, \
         and a checked build's shim weakens\none at a time. Command: `cargo test -p cloakroom-shards \
         --test race every_ordering`.\n\n\
         | file | function | access | weaker | search that fails | how |\n|---|---|---|---|---|---|\n\
         {killed}"
    )
    .expect("a String takes all");
    if survivors > 0 {
        write!(
            text,
            "\nSurvivors, each with what it would allow and why no search shows it:\n\n\
             | file | function | access | weaker | why |\n|---|---|---|---|---|\n{survive}"
        )
        .expect("a String takes all");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_search_of_a_kind_is_the_claim() {
        let mut text = String::new();
        let table = "# head\na | still | plain | 3 | 10 | quick\na | still | plain | none | 20 | whole\n\
                     a | still | rmw | 2 | 5 | quick\na | epoch | rmw | none | 7 | quick\n";
        searches(&mut text, table).unwrap();
        assert!(
            text.ends_with("| a | still | **20** | 5 ≤2 |  |  |\n| a | epoch |  | **7** |  |  |\n")
        );
        assert!(searches(&mut text, "a | still | plain | 3 | ten | quick").is_err());
    }

    #[test]
    fn an_ordering_is_killed_or_has_a_reason() {
        let mut text = String::new();
        let table = "f.rs | g | load 1 | Acquire -> Relaxed | killed | s | still | rmw | 1 | SHARD-3\n\
                     f.rs | g | fence 1 | SeqCst -> none | survives | because\n";
        orderings(&mut text, table).unwrap();
        assert!(text.contains("1 fail a search") && text.contains("1 survive."));
        assert!(text.contains("| s; still, rmw, 1 | SHARD-3 |") && text.contains("| because |"));
        assert!(orderings(&mut text, "f.rs | g | load 1 | Acquire -> Relaxed | unknown").is_err());
    }
}
