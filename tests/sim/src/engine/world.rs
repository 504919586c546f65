//! Machines, a network between them, and a clock that jumps from one event to the next.
//!
//! Life of a message: `poll_transmit` writes it; the network says when it arrives, if at all; at
//! that time it waits until its receiver has worked off what came before (`End::service_us`); then
//! the receiver's machine is told, and asked at once what it wants to send and tell.
//!
//! Invariants:
//! * a machine that was touched is asked for everything before time goes on;
//! * a machine has at most one timer that counts: one that is armed later is not taken back but
//!   ignored when it comes, and one that comes too early is armed again;
//! * SIM-2: a message to a node that is down is gone. One that is under way while its receiver starts anew
//!   reaches the new machine, as a datagram would.
//!
//! What it does not do: decide who starts, crashes or calls. That is the [`Director`]'s.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use super::trace::fold;
use super::{Arrivals, Director, End, Machine, Network, Node, Queue, Step, Time, Trace};
use crate::random::Random;

/// What a node has sent and been sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages sent.
    pub sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Messages that reached it: its machine was given them, or they wait until it has time.
    pub arrived: u64,
    /// Messages that its machine was given.
    pub received: u64,
    /// Bytes of them.
    pub received_bytes: u64,
}

struct Place<M: Machine> {
    machine: Option<M>,
    address: M::Address,
    end: End,
    random: Random,
    traffic: Traffic,
    /// The time of the timer that counts.
    armed: Time,
    /// Until when its machine is busy.
    busy: Time,
    /// To whom it sent something, and when, if it is behind a NAT.
    holes: Vec<(Node, Time)>,
    touched: bool,
}

enum Entry {
    Arrive { from: Node, to: Node, bytes: Vec<u8> },
    Served { from: Node, to: Node, bytes: Vec<u8> },
    Timer { node: Node },
    Wake { token: u64 },
    Pause,
}

/// A run.
pub struct World<M: Machine> {
    queue: Queue<Entry>,
    network: Network,
    places: Vec<Place<M>>,
    directory: HashMap<M::Address, Node, Fixed>,
    trace: Trace,
    seed: u64,
    touched: Vec<Node>,
    told: Vec<(Node, M::Event)>,
    /// Buffers that wait to be used again.
    spare: Vec<Vec<u8>>,
    lost: u64,
    total: Traffic,
}

impl<M: Machine> World<M> {
    /// An empty world.
    pub fn new(network: Network, seed: u64) -> Self {
        Self {
            queue: Queue::default(),
            network,
            places: Vec::new(),
            directory: HashMap::default(),
            trace: Trace::default(),
            seed,
            touched: Vec::new(),
            told: Vec::new(),
            spare: Vec::new(),
            lost: 0,
            total: Traffic::default(),
        }
    }

    /// The present.
    pub const fn now(&self) -> Time {
        self.queue.now()
    }

    /// What was told to machines so far.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The network; changes hold from now on.
    pub const fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Places, with or without a machine.
    pub const fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no place yet.
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Messages that the network lost, cuts and NATs included, or that met no machine.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// A new place without a machine.
    ///
    /// # Panics
    /// If the address is taken.
    pub fn settle(&mut self, address: M::Address, end: End) -> Node {
        let node = Node(u32::try_from(self.places.len()).expect("fewer than 2^32 nodes"));
        let before = self.directory.insert(address, node);
        assert_eq!(before, None, "{address:?} is taken");
        self.places.push(Place {
            machine: None,
            address,
            end,
            random: Random::stream(self.seed, "network", node.0.into()),
            traffic: Traffic::default(),
            armed: Time::NEVER,
            busy: Time(0),
            holes: Vec::new(),
            touched: false,
        });
        node
    }

    /// Starts a machine.
    ///
    /// # Panics
    /// If one runs there.
    pub fn start(&mut self, node: Node, machine: M) {
        self.trace.absorb(self.queue.now(), Step::Start, node, node, &[]);
        let place = &mut self.places[node.index()];
        assert!(place.machine.is_none(), "{node:?} runs");
        place.machine = Some(machine);
        place.armed = Time::NEVER;
        place.busy = self.queue.now();
        place.holes.clear();
        self.touch(node);
    }

    /// Stops a machine at once and returns what its disk has; `None` if none ran.
    pub fn crash(&mut self, node: Node) -> Option<M::Disk> {
        let machine = self.places[node.index()].machine.take()?;
        self.trace.absorb(self.queue.now(), Step::Stop, node, node, &[]);
        Some(machine.crash())
    }

    /// The machine of a node that is up.
    pub fn machine(&self, node: Node) -> Option<&M> {
        self.places[node.index()].machine.as_ref()
    }

    /// Whether a node is up.
    pub fn is_up(&self, node: Node) -> bool {
        self.machine(node).is_some()
    }

    /// Where a node is.
    pub fn end(&self, node: Node) -> End {
        self.places[node.index()].end
    }

    /// Moves a node, or makes it slow or fast.
    pub fn end_mut(&mut self, node: Node) -> &mut End {
        &mut self.places[node.index()].end
    }

    /// Its address.
    pub fn address(&self, node: Node) -> M::Address {
        self.places[node.index()].address
    }

    /// Who has an address.
    pub fn at(&self, address: M::Address) -> Option<Node> {
        self.directory.get(&address).copied()
    }

    /// What a node has sent and been sent.
    pub fn traffic(&self, node: Node) -> Traffic {
        self.places[node.index()].traffic
    }

    /// The same of all nodes together.
    pub const fn total(&self) -> Traffic {
        self.total
    }

    /// Asks a machine for something; `None` if the node is down. `what` names it in the trace.
    pub fn command<R>(
        &mut self,
        node: Node,
        what: u64,
        command: impl FnOnce(&mut M, Time) -> R,
    ) -> Option<R> {
        let now = self.queue.now();
        let machine = self.places[node.index()].machine.as_mut()?;
        self.trace.absorb(now, Step::Command, node, node, &what.to_le_bytes());
        let result = command(machine, now);
        self.touch(node);
        Some(result)
    }

    /// Wakes the director at this time.
    pub fn wake(&mut self, at: Time, token: u64) {
        self.queue.put(at, Entry::Wake { token });
    }

    /// Lets things happen until a time, which is the present afterwards.
    pub fn run(&mut self, director: &mut impl Director<M>, until: Time) {
        self.settle_all(director);
        self.queue.put(until, Entry::Pause);
        while let Some(entry) = self.queue.take(until) {
            match entry {
                Entry::Pause => break,
                Entry::Arrive { from, to, bytes } => self.arrive(from, to, bytes),
                Entry::Served { from, to, bytes } => self.deliver(from, to, bytes),
                Entry::Timer { node } => self.ring(node),
                Entry::Wake { token } => director.wake(self, token),
            }
            self.settle_all(director);
        }
    }

    fn touch(&mut self, node: Node) {
        let place = &mut self.places[node.index()];
        if !place.touched {
            place.touched = true;
            self.touched.push(node);
        }
    }

    /// Asks every touched machine for everything, and tells the director, until nothing is left.
    fn settle_all(&mut self, director: &mut impl Director<M>) {
        while let Some(node) = self.touched.pop() {
            self.places[node.index()].touched = false;
            self.ask(node);
            // The director may touch others, and this one again.
            for (node, event) in std::mem::take(&mut self.told) {
                director.event(self, node, event);
            }
        }
    }

    fn ask(&mut self, node: Node) {
        let now = self.queue.now();
        loop {
            let mut bytes = self.spare.pop().unwrap_or_default();
            let Some(machine) = self.places[node.index()].machine.as_mut() else {
                self.spare.push(bytes);
                return;
            };
            let Some(address) = machine.poll_transmit(now, &mut bytes) else {
                self.spare.push(bytes);
                break;
            };
            self.send(node, address, bytes);
        }
        let place = &mut self.places[node.index()];
        let Some(machine) = place.machine.as_mut() else { return };
        while let Some(event) = machine.poll_event() {
            self.told.push((node, event));
        }
        let due = machine.poll_timeout();
        if due < place.armed {
            place.armed = due.max(now);
            self.queue.put(place.armed, Entry::Timer { node });
        }
    }

    fn send(&mut self, from: Node, address: M::Address, bytes: Vec<u8>) {
        let now = self.queue.now();
        let to = self.at(address);
        let sender = &mut self.places[from.index()];
        for traffic in [&mut sender.traffic, &mut self.total] {
            traffic.sent += 1;
            traffic.sent_bytes += bytes.len() as u64;
        }
        if sender.end.nat
            && let Some(to) = to
        {
            sender.holes.retain(|&(_, at)| now.since_us(at) < self.network.nat_us);
            match sender.holes.iter_mut().find(|(other, _)| *other == to) {
                Some(hole) => hole.1 = now,
                None => sender.holes.push((to, now)),
            }
        }
        let (end, mut random) = (sender.end, sender.random.clone());
        let arrivals: Arrivals = match to {
            Some(to) => self.network.carry(now, end, self.places[to.index()].end, &mut random),
            None => [None, None],
        };
        self.places[from.index()].random = random;
        match (to, arrivals) {
            (Some(to), [Some(at), None] | [None, Some(at)]) => {
                self.queue.put(at, Entry::Arrive { from, to, bytes });
            }
            (Some(to), [Some(first), Some(second)]) => {
                let copy = bytes.clone();
                self.queue.put(first, Entry::Arrive { from, to, bytes });
                self.queue.put(second, Entry::Arrive { from, to, bytes: copy });
            }
            _ => self.lose(bytes),
        }
    }

    fn lose(&mut self, bytes: Vec<u8>) {
        self.lost += 1;
        self.reuse(bytes);
    }

    fn reuse(&mut self, mut bytes: Vec<u8>) {
        bytes.clear();
        self.spare.push(bytes);
    }

    fn arrive(&mut self, from: Node, to: Node, bytes: Vec<u8>) {
        let now = self.queue.now();
        let place = &mut self.places[to.index()];
        let open =
            |&(other, at): &(Node, Time)| other == from && now.since_us(at) < self.network.nat_us;
        if place.machine.is_none() || place.end.nat && !place.holes.iter().any(open) {
            return self.lose(bytes);
        }
        for traffic in [&mut place.traffic, &mut self.total] {
            traffic.arrived += 1;
        }
        if place.end.service_us == 0 {
            return self.deliver(from, to, bytes);
        }
        place.busy = place.busy.max(now).plus_us(place.end.service_us.into());
        self.queue.put(place.busy, Entry::Served { from, to, bytes });
    }

    fn deliver(&mut self, from: Node, to: Node, bytes: Vec<u8>) {
        let now = self.queue.now();
        let sender = self.places[from.index()].address;
        let place = &mut self.places[to.index()];
        let Some(machine) = place.machine.as_mut() else { return self.lose(bytes) };
        for traffic in [&mut place.traffic, &mut self.total] {
            traffic.received += 1;
            traffic.received_bytes += bytes.len() as u64;
        }
        self.trace.absorb(now, Step::Message, from, to, &bytes);
        machine.handle_message(now, sender, &bytes);
        self.reuse(bytes);
        self.touch(to);
    }

    fn ring(&mut self, node: Node) {
        let now = self.queue.now();
        let place = &mut self.places[node.index()];
        // A timer that does not count: an earlier one was armed after it, or its machine is gone.
        if place.armed != now {
            return;
        }
        place.armed = Time::NEVER;
        let Some(machine) = place.machine.as_mut() else { return };
        if machine.poll_timeout() <= now {
            self.trace.absorb(now, Step::Timer, node, node, &[]);
            machine.handle_timeout(now);
        }
        self.touch(node);
    }
}

/// A hasher without a seed of its own: the order in a table never shows here, but its speed does.
#[derive(Clone, Copy, Debug, Default)]
struct Fixed;

struct FixedHasher(u64);

impl BuildHasher for Fixed {
    type Hasher = FixedHasher;
    fn build_hasher(&self) -> FixedHasher {
        FixedHasher(0)
    }
}

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(padded));
        }
    }
    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }
    fn write_isize(&mut self, word: isize) {
        self.write_u64(word.cast_unsigned() as u64);
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Regions;
    use crate::random::Chance;
    use std::collections::VecDeque;

    /// Makes its receiver's next beat come later.
    const PUT_OFF: u8 = 255;

    /// Counts what it hears, answers while the number is not zero, and beats every 10 ms.
    #[derive(Default)]
    struct Toy {
        heard: Vec<(u64, u8, u8)>,
        send: VecDeque<(u8, u8)>,
        beats: u32,
        due: Time,
    }

    impl Machine for Toy {
        type Address = u8;
        type Event = u8;
        type Disk = usize;
        fn handle_message(&mut self, now: Time, from: u8, bytes: &[u8]) {
            self.heard.push((now.0, from, bytes[0]));
            if bytes[0] == PUT_OFF {
                self.due = now.plus_us(15_000);
            } else if bytes[0] > 0 {
                self.send.push_back((from, bytes[0] - 1));
            }
        }
        fn handle_timeout(&mut self, now: Time) {
            assert!(now >= self.due);
            self.beats += 1;
            self.due = now.plus_us(10_000);
        }
        fn poll_transmit(&mut self, _: Time, bytes: &mut Vec<u8>) -> Option<u8> {
            assert!(bytes.is_empty(), "a buffer that is used again is empty");
            let (to, number) = self.send.pop_front()?;
            bytes.push(number);
            Some(to)
        }
        fn poll_event(&mut self) -> Option<u8> {
            None
        }
        fn poll_timeout(&self) -> Time {
            self.due
        }
        fn crash(self) -> usize {
            self.heard.len()
        }
    }

    /// Starts a rally of `token` messages whenever it is woken.
    struct Rally;

    impl Director<Toy> for Rally {
        fn wake(&mut self, world: &mut World<Toy>, token: u64) {
            let number = u8::try_from(token).unwrap();
            world.command(Node(0), token, |toy, _| toy.send.push_back((1, number)));
        }
        fn event(&mut self, _: &mut World<Toy>, _: Node, _: u8) {}
    }

    fn world(network: Network, seed: u64) -> World<Toy> {
        let mut world = World::new(network, seed);
        for address in 0..3 {
            let node = world.settle(address, End::default());
            world.start(node, Toy::default());
        }
        world
    }

    fn one_region() -> Network {
        Network::perfect(Regions::some(&["Tokyo".to_owned()]).unwrap())
    }

    fn heard(world: &World<Toy>, node: u32) -> &[(u64, u8, u8)] {
        &world.machine(Node(node)).unwrap().heard
    }

    #[test]
    fn messages_take_their_time_and_timers_ring_beside_them() {
        let mut world = world(one_region(), 1);
        world.wake(Time(1000), 3);
        world.run(&mut Rally, Time(100_000));
        assert_eq!(heard(&world, 1), [(1876, 0, 3), (3628, 0, 1)]);
        assert_eq!(heard(&world, 0), [(2752, 1, 2), (4504, 1, 0)]);
        assert_eq!(world.machine(Node(0)).unwrap().beats, 10);
        assert_eq!(world.now(), Time(100_000));
        let expected =
            Traffic { sent: 2, sent_bytes: 2, arrived: 2, received: 2, received_bytes: 2 };
        assert_eq!((world.traffic(Node(0)), world.lost()), (expected, 0));
    }

    #[test]
    fn what_waits_for_a_slow_node_has_arrived_and_is_not_received() {
        let mut world = world(one_region(), 1);
        world.end_mut(Node(1)).service_us = 50_000;
        world.wake(Time(1000), 3);
        world.run(&mut Rally, Time(10_000));
        let traffic = world.traffic(Node(1));
        assert_eq!((traffic.arrived, traffic.received), (1, 0));
        world.run(&mut Rally, Time(60_000));
        let traffic = world.traffic(Node(1));
        assert_eq!((traffic.arrived, traffic.received), (2, 1));
    }

    #[test]
    fn a_timer_that_was_put_off_rings_at_its_new_time() {
        let mut world = world(one_region(), 1);
        // It arrives at 5,876 and moves the beat of 10,000 to 20,876.
        world.wake(Time(5000), PUT_OFF.into());
        world.run(&mut Rally, Time(15_000));
        assert_eq!(world.machine(Node(1)).unwrap().beats, 1);
        world.run(&mut Rally, Time(25_000));
        assert_eq!(world.machine(Node(1)).unwrap().beats, 2);
        assert_eq!(world.machine(Node(0)).unwrap().beats, 3);
    }

    #[test]
    fn a_busy_node_makes_messages_wait_for_each_other() {
        let mut world = world(one_region(), 1);
        world.end_mut(Node(1)).service_us = 500;
        for _ in 0..3 {
            world.wake(Time(0), 0);
        }
        world.run(&mut Rally, Time(9000));
        assert_eq!(heard(&world, 1), [(1376, 0, 0), (1876, 0, 0), (2376, 0, 0)]);
    }

    #[test]
    fn a_crashed_node_hears_nothing_until_it_starts_anew() {
        let mut world = world(one_region(), 1);
        world.wake(Time(0), 0);
        world.run(&mut Rally, Time(5000));
        assert_eq!(world.crash(Node(1)), Some(1));
        assert_eq!(world.crash(Node(1)), None);
        world.wake(Time(6000), 0);
        world.run(&mut Rally, Time(10_000));
        assert_eq!(world.lost(), 1);
        world.start(Node(1), Toy { due: Time::NEVER, ..Toy::default() });
        world.wake(Time(11_000), 0);
        world.run(&mut Rally, Time(20_000));
        assert_eq!(heard(&world, 1), [(11_876, 0, 0)]);
        assert_eq!(world.machine(Node(1)).unwrap().beats, 0, "the dead machine's timer is void");
    }

    #[test]
    fn a_node_behind_a_nat_hears_only_those_to_whom_it_spoke_lately() {
        let mut world = world(one_region(), 1);
        world.end_mut(Node(1)).nat = true;
        world.wake(Time(0), 0);
        world.run(&mut Rally, Time(5000));
        assert_eq!((heard(&world, 1).len(), world.lost()), (0, 1));
        world.command(Node(1), 0, |toy, _| toy.send.push_back((0, 0)));
        world.wake(Time(6000), 0);
        world.wake(Time(40_000_000), 0);
        world.run(&mut Rally, Time(50_000_000));
        assert_eq!((heard(&world, 1).len(), world.lost()), (1, 2));
        // A hole for one is none for another.
        world.command(Node(1), 0, |toy, _| toy.send.push_back((0, 0)));
        world.command(Node(2), 0, |toy, _| toy.send.push_back((1, 0)));
        world.run(&mut Rally, Time(51_000_000));
        assert_eq!((heard(&world, 1).len(), world.lost()), (1, 3));
    }

    #[test]
    fn one_seed_has_one_trace_and_another_seed_another() {
        let run = |seed, loss| {
            let mut network = one_region();
            network.jitter_us = 100;
            network.loss = Chance::of(loss);
            network.duplicate = Chance::of(0.01);
            let mut world = world(network, seed);
            for at in 0..1000 {
                world.wake(Time(at * 50), at % 200);
            }
            world.run(&mut Rally, Time(1_000_000));
            assert!(world.trace().steps() > 1000);
            world.trace().hash()
        };
        assert_eq!(run(1, 0.01), run(1, 0.01));
        assert_ne!(run(1, 0.01), run(2, 0.01));
        assert_ne!(run(1, 0.01), run(1, 0.02));
    }
}
