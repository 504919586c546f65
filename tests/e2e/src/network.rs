//! Links between nodes that are cut, lose packets, or are slow: by `nft` and `tc`, on the loopback of our
//! own world.
//!
//! Packets are dropped where they arrive: a sender that is told would know more than on a real network.
//!
//! Invariants: what is set replaces what was set before; only packets between nodes are hit, never a
//! client's.
//!
//! What it does not do: reorder packets beyond what a queue does.

use std::fmt::Write;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A link in one direction, by the ports of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) from: u16,
    pub(crate) to: u16,
}

/// Drops this share of the packets of these links, in percent.
pub(crate) async fn lose(links: &[Link], percent: u8) -> Result<(), String> {
    let mut rules = String::from("add table inet e2e\nflush table inet e2e\n");
    rules.push_str("add chain inet e2e in { type filter hook input priority 0; }\n");
    for Link { from, to } in links {
        let chance = match percent {
            100.. => String::new(),
            some => format!("numgen random mod 100 < {some} "),
        };
        let _ =
            writeln!(rules, "add rule inet e2e in udp sport {from} udp dport {to} {chance}drop");
    }
    run("nft -f -", &rules).await
}

/// Bits a second of all slow links together, and packets that wait for them.
const SLOW: (&str, &str) = ("512kbit", "60");

/// Lets these links share a narrow path with a short queue.
pub(crate) async fn slow(links: &[Link]) -> Result<(), String> {
    let (rate, queue) = SLOW;
    run("tc qdisc add dev lo root handle 1: htb default 1 r2q 100000", "").await?;
    run("tc class add dev lo parent 1: classid 1:1 htb rate 10gbit quantum 60000", "").await?;
    run(&format!("tc class add dev lo parent 1: classid 1:2 htb rate {rate} quantum 1600"), "")
        .await?;
    run(&format!("tc qdisc add dev lo parent 1:2 pfifo limit {queue}"), "").await?;
    for Link { from, to } in links {
        let matches = format!(
            "match ip protocol 17 0xff match ip sport {from} 0xffff match ip dport {to} 0xffff"
        );
        run(&format!("tc filter add dev lo parent 1: protocol ip u32 {matches} flowid 1:2"), "")
            .await?;
    }
    Ok(())
}

/// All links are whole and fast again.
pub(crate) async fn heal() {
    // Where nothing was set there is nothing to take away.
    let _ = run("nft delete table inet e2e", "").await;
    let _ = run("tc qdisc del dev lo root", "").await;
}

async fn run(line: &str, input: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let failed = |cause: &dyn std::fmt::Display| format!("{line}: {cause}");
    let mut child = command.kill_on_drop(true).spawn().map_err(|cause| failed(&cause))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.map_err(|cause| failed(&cause))?;
    }
    let output = child.wait_with_output().await.map_err(|cause| failed(&cause))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(&String::from_utf8_lossy(&output.stderr).trim()))
}
