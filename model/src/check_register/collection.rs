//! `check_collection`: a collection beside the coordinators.

use std::sync::Arc;

use cloakroom_register::{Effects, Write};
use cloakroom_specs::register as spec;

use super::{COLLECTOR, CheckRegister, Packet, State, node, order};
use crate::search::{Event, Named, object};

impl CheckRegister {
    /// A member was asked about a tombstone; `None` when nothing changes.
    pub(super) fn collect(
        &self,
        state: &mut State,
        packet: &Packet,
        effects: &Effects,
        changed: bool,
        answered: bool,
    ) -> Option<Named> {
        let dropped = effects.persist.iter().any(|write| matches!(write, Write::Drop(_)));
        if dropped {
            let tombstone = packet.tombstone();
            let members = state.members.each_ref().map(|seated| {
                let record = seated.replica.durable().record(&self.key);
                let holds = record.accepted.map_or(0, |accepted| order(accepted.ballot));
                (holds, order(record.promise))
            });
            object(&mut state.objection, spec::may_drop(order(tombstone), members));
            state.ghosts.change(|ghosts| ghosts.dropped(tombstone));
        }
        let mut heard = false;
        if let Some(collector) = state.collector.as_mut().filter(|_| answered) {
            let before = collector.clone();
            for envelope in &effects.send {
                let to = packet.to;
                let send = collector.change(|c| c.handle(node(to), &envelope.message));
                heard |= *collector != before;
                for envelope in send {
                    let packet = Packet::new(COLLECTOR, envelope);
                    if let Err(at) = state.asks.binary_search_by(|other| (**other).cmp(&packet)) {
                        state.asks.change(|asks| asks.insert(at, Arc::new(packet)));
                    }
                }
            }
        }
        (changed || heard).then_some(Named(dropped.then_some(Event::Collected)))
    }
}
