//! One node's disk beside redb alone.
//!
//! 1. Clients allocate and free ids at one node, and meanwhile the node's metrics say how many group commits its
//!    disk made, of how many entries and bytes.
//! 2. redb alone commits batches of as many entries and bytes, one after the other, on the same file system.
//!
//! Invariants: both wait for a sync in each commit; neither has anything else to do on its disk.
//!
//! What it does not do: take the processor away from redb's side. A node shares it with its clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use redb::{Database, TableDefinition};

use crate::clusters::Nodes;
use crate::grpc::Failure;

/// What the clients write: one id in a hundred of 65,536 is held, the lowest, in blocks of 64; and the root.
const KEYS: u32 = 12;

/// Until the clients have filled their pool.
const FILL: Duration = Duration::from_secs(2);

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

/// What a disk did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Commits {
    /// Group commits in a second.
    pub per_second: f64,
    /// In a second that is spent in them: as many as there would be if it never waited for something to write.
    pub per_busy_second: f64,
    /// Entries of one of them, in the mean.
    pub entries: f64,
    /// Bytes of an entry, in the mean.
    pub bytes: f64,
}

/// One node's disk, under so many clients for so many seconds.
///
/// # Errors
/// The system's, or the command's.
pub fn node(cloakroom: &Path, clients: usize, seconds: u16) -> Result<Commits, Failure> {
    let nodes = Nodes::start(cloakroom, 1)?;
    let span = Duration::from_secs(seconds.into());
    let duration = (2 * FILL + span).as_secs().to_string();
    let mut bench = crate::bench(cloakroom, &nodes.endpoints)
        .args(["--clients", &clients.to_string(), "--occupancy", "1", "--duration", &duration])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(FILL);
    let (began, before) = (Instant::now(), metrics(&nodes.endpoints)?);
    std::thread::sleep(span);
    let (took, after) = (began.elapsed().as_secs_f64(), metrics(&nodes.endpoints)?);
    if !bench.wait()?.success() {
        return Err("the clients have failed".into());
    }
    let of =
        |name: &str| -> Result<f64, Failure> { Ok(figure(&after, name)? - figure(&before, name)?) };
    let commits = of("cloakroom_disk_sync_duration_seconds_count")?;
    let entries = of("cloakroom_disk_entries_written_total")?;
    let bytes = of("cloakroom_disk_written_bytes_total")?;
    let busy = of("cloakroom_disk_sync_duration_seconds_sum")?;
    Ok(Commits {
        per_second: commits / took,
        per_busy_second: commits / busy,
        entries: entries / commits,
        bytes: bytes / entries,
    })
}

/// redb alone, with batches as large as these.
///
/// # Errors
/// redb's.
pub fn redb(like: Commits, seconds: u16) -> Result<Commits, Failure> {
    let folder = tempfile::Builder::new().prefix("cloakroom-benches-").tempdir()?;
    let database = Database::create(folder.path().join("alone.redb"))?;
    let (batch, length) = (whole(like.entries), usize::try_from(whole(like.bytes))?);
    let (mut next, mut commits) = (0_u32, 0_u32);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds.into()) {
        let writing = database.begin_write()?;
        {
            let mut table = writing.open_table(ENTRIES)?;
            for _ in 0..batch {
                // Odd, so that all keys have their turn, spread as hashes are.
                let key = (next % KEYS).wrapping_mul(0x9e37_79b1).to_be_bytes();
                let value = vec![next.to_le_bytes()[0]; length.saturating_sub(key.len())];
                table.insert(&key[..], &value[..])?;
                next = next.wrapping_add(1);
            }
        }
        writing.commit()?;
        commits += 1;
    }
    let per_second = f64::from(commits) / began.elapsed().as_secs_f64();
    Ok(Commits { per_second, per_busy_second: per_second, entries: f64::from(batch), ..like })
}

fn metrics(endpoint: &str) -> Result<String, Failure> {
    let host = endpoint.strip_prefix("http://").ok_or("expected an endpoint over http")?;
    let mut stream = TcpStream::connect(host)?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn figure(metrics: &str, name: &str) -> Result<f64, Failure> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.ok_or_else(|| format!("the node counts no {name}"))?.trim().parse()?)
}

/// At least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few thousand at most"
)]
fn whole(mean: f64) -> u32 {
    (mean.round() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_that_of_the_whole_name() {
        let text = "# TYPE a_total counter\na_total_of_b 7\na_total 3\n";
        assert!((figure(text, "a_total").unwrap() - 3.0).abs() < 1e-9);
        assert!(figure(text, "a").is_err());
    }
}
