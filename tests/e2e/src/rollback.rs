//! An older copy of a node's data file is put back, as after a restore from a backup: it has forgotten what it
//! promised. The node must notice, begin a new life of its disk, and the others must give it what it held.
//!
//! Invariants: when the copy is put back, no view names anybody who has gone, so that no majority loses its disks.
//!
//! What it does not do: put a whole folder back, or a copy from within the last seconds. Neither is noticed, as
//! `impl/server/src/disk/life.rs` says.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::clients;
use crate::cluster::Cluster;

/// No node writes down less often how far it has come.
const NOTED_WITHIN: Duration = Duration::from_secs(6);
/// All slots have found their members within so many tries.
const TRIES: u32 = 600;
const PAUSE: Duration = Duration::from_millis(100);
/// Of one call in here.
const DEADLINE: Duration = Duration::from_secs(10);

/// A copy of a founder's data file.
#[derive(Debug)]
pub(crate) struct Copy {
    number: usize,
    data: PathBuf,
    kept: PathBuf,
}

impl Copy {
    /// Of the last founder's, which is down for that moment. None where nobody could replace it.
    pub(crate) async fn take(cluster: &mut Cluster) -> Result<Option<Self>, String> {
        let number = cluster.nodes.len() - 1;
        if number < 2 {
            return Ok(None);
        }
        cluster.kill(number).await;
        let data = cluster.nodes[number].folder.join("node.redb");
        let kept = cluster.nodes[number].folder.join("older.redb");
        let copied = fs::copy(&data, &kept);
        copied.map_err(|cause| format!("a copy of {}: {cause}", data.display()))?;
        cluster.start(number).await?;
        Ok(Some(Self { number, data, kept }))
    }

    /// Puts it back when the node has written more, and starts the node, which must notice.
    pub(crate) async fn put_back(self, cluster: &mut Cluster) -> Result<(), String> {
        for endpoint in cluster.endpoints() {
            only_members_have_seats(&endpoint).await?;
        }
        tokio::time::sleep(NOTED_WITHIN).await;
        let name = cluster.nodes[self.number].name.clone();
        let client = clients::client(&cluster.endpoints(), "round-robin", DEADLINE);
        let key = format!("before the older copy of {name}");
        let written = client.put_if_absent(&key, b"well").await;
        written.map_err(|cause| format!("LIVENESS: {name}: before its older copy: {cause}"))?;
        cluster.kill(self.number).await;
        let put_back = fs::rename(&self.kept, &self.data);
        put_back.map_err(|cause| format!("an older copy of {}: {cause}", self.data.display()))?;
        cluster.start(self.number).await?;
        let aside = self.data.with_file_name("node.redb.rolled-back-1");
        if aside.exists() {
            return Ok(());
        }
        Err(format!("REG-6: {name} has not noticed that an older copy of its data was put back"))
    }
}

/// Who was removed, or is gone for ever, may have seats for a while.
async fn only_members_have_seats(endpoint: &String) -> Result<(), String> {
    let client = clients::client(std::slice::from_ref(endpoint), "round-robin", DEADLINE);
    let mut last = String::new();
    for _ in 0..TRIES {
        match client.cluster().await {
            Ok(told) => {
                let seats: u64 = told.members.iter().map(|member| member.seats).sum();
                if seats == told.slots * told.replicas {
                    return Ok(());
                }
                last = format!("{seats} seats of {} slots", told.slots);
            }
            Err(cause) => last = cause.to_string(),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(format!("LIVENESS: {endpoint}: not all slots have members that are there: {last}"))
}
