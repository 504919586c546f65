//! An older copy of a node's data file is put back, as after a restore from a backup: it has forgotten what it
//! promised. The node must notice, begin a new life of its disk, and the others must give it what it held.
//!
//! Invariants: when the copy is put back, no view names anybody who has gone, so that no majority loses its disks.
//!
//! What it does not do: put a whole folder back, or a copy from within the last seconds. Neither is noticed, as
//! `impl/server/src/disk/life.rs` says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use cloakroom_client::{ClientError, Cluster, Life, Slot};

use crate::clients;
use crate::cluster;

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
    pub(crate) async fn take(cluster: &mut cluster::Cluster) -> Result<Option<Self>, String> {
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
    pub(crate) async fn put_back(self, cluster: &mut cluster::Cluster) -> Result<(), String> {
        only_members_have_seats(&cluster.endpoints()).await?;
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

/// What a node says: of the cluster, and of the slots.
type Told = (Cluster, Vec<Slot>);

/// Who was removed, or is gone for ever, may have seats for a while. All nodes are up. A node's word counts only
/// for the views in which it votes itself: of the others it has only heard.
async fn only_members_have_seats(endpoints: &[String]) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..TRIES {
        match ask(endpoints).await.and_then(|told| all_seats_are_taken(&told)) {
            Ok(()) => return Ok(()),
            Err(cause) => last = cause,
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(format!("LIVENESS: not all slots have members that are there: {last}"))
}

async fn ask(endpoints: &[String]) -> Result<Vec<Told>, String> {
    let mut told = Vec::new();
    for endpoint in endpoints {
        let client = clients::client(std::slice::from_ref(endpoint), "round-robin", DEADLINE);
        let at = |cause: ClientError| format!("{endpoint}: {cause}");
        told.push((client.cluster().await.map_err(at)?, client.slots().await.map_err(at)?));
    }
    Ok(told)
}

/// The newest view of each slot has as many members as it ought to, and each of them votes in it.
fn all_seats_are_taken(told: &[Told]) -> Result<(), String> {
    let Some((cluster, _)) = told.first() else { return Err("nobody was asked".to_string()) };
    // By slot: the newest view in which somebody votes, and who does.
    let mut views: BTreeMap<u16, (&Slot, BTreeSet<&str>)> = BTreeMap::new();
    for (of, slot) in told.iter().flat_map(|(of, slots)| slots.iter().map(move |slot| (of, slot))) {
        if slot.life != Some(Life::Active) {
            continue;
        }
        let newest = views.entry(slot.slot).or_insert_with(|| (slot, BTreeSet::new()));
        if newest.0.epoch < slot.epoch {
            *newest = (slot, BTreeSet::new());
        }
        if newest.0.epoch == slot.epoch {
            newest.1.insert(&of.node);
        }
    }
    for number in 0..cluster.slots {
        let view = u16::try_from(number).ok().and_then(|number| views.get(&number));
        let Some((view, voters)) = view else {
            return Err(format!("slot {number}: nobody votes"));
        };
        let members: BTreeSet<&str> = view.members.iter().map(String::as_str).collect();
        if members.len() as u64 != cluster.replicas || members != *voters {
            let Slot { epoch, members, .. } = view;
            return Err(format!("slot {number}: {voters:?} vote in view {epoch} of {members:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(node: &str, slots: &[(u32, &[&str], Option<Life>)]) -> Told {
        let cluster = Cluster {
            cluster: "c".to_string(),
            node: node.to_string(),
            slots: 1,
            replicas: 2,
            version: 1,
            members: Vec::new(),
            drained: false,
        };
        let slot = |(epoch, members, life): &(u32, &[&str], Option<Life>)| Slot {
            slot: 0,
            epoch: *epoch,
            members: members.iter().map(ToString::to_string).collect(),
            life: *life,
        };
        (cluster, slots.iter().map(slot).collect())
    }

    #[test]
    fn only_the_word_of_those_who_vote_counts() {
        let (old, new): (&[&str], &[&str]) = (&["a", "x"], &["a", "b"]);
        let active = Some(Life::Active);
        let judged = |told: &[Told]| all_seats_are_taken(told);
        let hearsay = told("c", &[(1, old, None)]);
        let votes = |node: &str| told(node, &[(2, new, active)]);
        assert_eq!(judged(&[hearsay.clone(), votes("a"), votes("b")]), Ok(()));
        let one = judged(&[hearsay, votes("a"), told("b", &[(2, new, Some(Life::Learner))])]);
        assert!(one.unwrap_err().contains("vote in view 2"));
        let gone = judged(&[told("a", &[(1, old, active)]), told("b", &[])]);
        assert!(gone.unwrap_err().contains("view 1"), "x is not there");
        assert!(judged(&[told("a", &[]), told("b", &[])]).unwrap_err().contains("nobody votes"));
        assert!(judged(&[]).is_err());
    }
}
