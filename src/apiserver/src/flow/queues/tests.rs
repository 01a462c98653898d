use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const QUEUES: Response = Response::Queue { queues: 64, hand: 6, length_limit: 50 };

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The hash of a flow.
fn hash(flow: u64) -> u64 {
    (flow + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// A server that serves each request for as long as it says, driven by a clock that jumps.
struct Server {
    set: QueueSet,
    now: Duration,
    next_id: Id,
    flows: BTreeMap<Id, u64>,
    /// Whose service ends when.
    ends: Vec<(Duration, Id)>,
    /// The flows in the order in which their requests were served.
    order: Vec<u64>,
    served: BTreeMap<u64, usize>,
}

impl Server {
    fn new(response: Response, limit: u32) -> Self {
        let set = QueueSet::new(response, limit);
        Self {
            set,
            now: Duration::ZERO,
            next_id: 0,
            flows: BTreeMap::new(),
            ends: Vec::new(),
            order: Vec::new(),
            served: BTreeMap::new(),
        }
    }

    fn arrive(&mut self, flow: u64, width: Width) -> Result<Id, Refusal> {
        self.next_id += 1;
        self.set.arrive(self.now, self.next_id, hash(flow), width)?;
        self.flows.insert(self.next_id, flow);
        Ok(self.next_id)
    }

    /// Serves what can be served, each for as long as `lasts` says of its flow.
    fn pump(&mut self, lasts: impl Fn(u64) -> Duration) {
        while let Some(id) = self.set.next(self.now) {
            let flow = self.flows[&id];
            self.order.push(flow);
            *self.served.entry(flow).or_default() += 1;
            self.ends.push((self.now + lasts(flow), id));
        }
    }

    /// Goes on to the next end of a service; `None` where nothing is served.
    fn step(&mut self) -> Option<u64> {
        let at = (0..self.ends.len()).min_by_key(|at| self.ends[*at])?;
        let (end, id) = self.ends.remove(at);
        self.now = end;
        assert_eq!(self.set.finish(end, id), None);
        Some(self.flows[&id])
    }
}

#[test]
fn a_light_flow_has_a_seat_beside_one_that_holds_what_it_can_get() {
    // Answers that are not read hold their seats: nothing of the flood ends.
    let mut server = Server::new(QUEUES, 50);
    for _ in 0..200 {
        let _ = server.arrive(1, Width::of(10));
        server.pump(|_| ms(1_000_000));
    }
    assert_eq!(server.set.seats_in_use(), 40, "all but those that are reserved");
    for _ in 0..3 {
        server.arrive(2, Width::of(1)).expect("its queue is not full");
        server.pump(|_| ms(1));
        assert_eq!(server.order.last(), Some(&2), "it is served at once");
        assert_eq!(server.step(), Some(2));
    }
}

#[test]
fn reserved_seats_are_taken_past_a_wide_request_that_waits_for_others() {
    // Lists hold all seats but those that are reserved, and those that wait for more are in queues that have had nothing.
    let mut server = Server::new(QUEUES, 50);
    for _ in 0..100 {
        let _ = server.arrive(1, Width::of(10));
    }
    server.pump(|_| ms(1000));
    for step in 1..100 {
        server.now = ms(step * 10);
        server.arrive(2, Width::of(1)).expect("its queue is not full");
        server.pump(|flow| if flow == 1 { ms(1000) } else { ms(1) });
        assert_eq!(server.order.last(), Some(&2), "after {step} steps it is served at once");
        assert_eq!(server.step(), Some(2));
    }
}

#[test]
fn a_flood_of_one_user_does_not_delay_another() {
    // One user has 200 requests waiting at any time, another sends one after the other: less than its part of the
    // seats, which is one of seven where the first one waits in a hand of six queues.
    let mut server = Server::new(QUEUES, 10);
    let lasts = |_| ms(10);
    for _ in 0..200 {
        let _ = server.arrive(1, Width::of(1));
    }
    server.pump(lasts);
    let mut waits = Vec::new();
    for _ in 0..50 {
        let came = server.now;
        let own = server.arrive(2, Width::of(1)).expect("the queues of another flow have room");
        loop {
            server.pump(lasts);
            if server.ends.iter().any(|(_, id)| *id == own) {
                waits.push(server.now - came);
                break;
            }
            if server.step() == Some(1) {
                let _ = server.arrive(1, Width::of(1));
            }
        }
        while server.ends.iter().any(|(_, id)| *id == own) {
            if server.step() == Some(1) {
                let _ = server.arrive(1, Width::of(1));
            }
        }
    }
    // Each is served as soon as anything ends, before the hundreds that were there.
    assert!(waits.iter().all(|wait| *wait <= ms(10)), "{waits:?}");
}

#[test]
fn flows_that_always_want_more_get_the_same_whatever_they_send() {
    // 1 has 10 requests at a time and 2 has 40; requests of 2 take twice as long.
    let mut server = Server::new(QUEUES, 5);
    let lasts = |flow: u64| ms(if flow == 2 { 20 } else { 10 });
    for (flow, count) in [(1, 10), (2, 40)] {
        for _ in 0..count {
            server.arrive(flow, Width::of(1)).expect("is taken in");
        }
    }
    // Both flows have one queue each where the hand is one.
    let mut seat_ms: BTreeMap<u64, u128> = BTreeMap::new();
    server.pump(lasts);
    while server.now < ms(20_000) {
        let flow = server.step().expect("something is served");
        *seat_ms.entry(flow).or_default() += lasts(flow).as_millis();
        server.arrive(flow, Width::of(1)).expect("is taken in");
        server.pump(lasts);
    }
    // By hands of six queues the one with more requests is in more queues, at most six to one.
    assert!(seat_ms[&2] < 7 * seat_ms[&1], "{seat_ms:?}");
}

#[test]
fn queues_get_the_same_seat_time_whatever_their_requests_take() {
    let response = Response::Queue { queues: 64, hand: 1, length_limit: 100 };
    let mut server = Server::new(response, 4);
    let lasts = |flow: u64| ms(if flow == 2 { 25 } else { 5 });
    let width = |flow: u64| Width::of(if flow == 3 { 2 } else { 1 });
    for flow in [1, 2, 3] {
        for _ in 0..30 {
            server.arrive(flow, width(flow)).expect("is taken in");
        }
    }
    let different: std::collections::HashSet<_> = [1, 2, 3].map(|flow| shuffle::deal(hash(flow), 64, 1)).into();
    assert_eq!(different.len(), 3, "the test wants three queues");
    let mut seat_ms: BTreeMap<u64, u128> = BTreeMap::new();
    server.pump(lasts);
    while server.now < ms(60_000) {
        let flow = server.step().expect("something is served");
        *seat_ms.entry(flow).or_default() += lasts(flow).as_millis() * u128::from(width(flow).seats);
        server.arrive(flow, width(flow)).expect("is taken in");
        server.pump(lasts);
    }
    let (least, most) = (seat_ms.values().min().expect("some"), seat_ms.values().max().expect("some"));
    assert!(*most * 100 < *least * 115, "{seat_ms:?}");
}

#[test]
fn what_is_beyond_the_queues_is_refused() {
    let response = Response::Queue { queues: 1, hand: 1, length_limit: 3 };
    let mut server = Server::new(response, 2);
    for _ in 0..2 {
        server.arrive(1, Width::of(1)).expect("has a seat");
        server.pump(|_| ms(10));
    }
    for _ in 0..3 {
        server.arrive(1, Width::of(1)).expect("waits");
        server.pump(|_| ms(10));
    }
    assert_eq!(server.arrive(1, Width::of(1)), Err(Refusal::QueueFull));
    assert_eq!((server.set.executing(), server.set.waiting(), server.set.seats_in_use()), (2, 3, 2));
}

#[test]
fn what_waits_for_its_turn_alone_is_bounded_as_well() {
    for (limit, expected) in [(98, 98), (4, 15)] {
        let mut set = QueueSet::new(Response::Queue { queues: 8, hand: 3, length_limit: 5 }, limit);
        let accepted = (0..10_000).filter(|id| set.arrive(ms(0), *id, hash(1), Width::of(1)).is_ok()).count();
        assert_eq!((accepted, set.waiting()), (expected, expected), "seats: {limit}");
    }
}

#[test]
fn a_level_without_queues_refuses_what_has_no_seat() {
    let mut server = Server::new(Response::Reject, 3);
    let first = server.arrive(1, Width::of(2)).expect("has seats");
    assert_eq!(server.arrive(1, Width::of(2)), Err(Refusal::ConcurrencyLimit));
    server.arrive(1, Width::of(1)).expect("has a seat");
    server.pump(|_| ms(1));
    assert_eq!(server.set.executing(), 2);
    server.set.finish(ms(1), first);
    server.arrive(1, Width::of(2)).expect("has seats again");
    // A request that is wider than the level is served alone.
    let mut narrow = Server::new(Response::Reject, 3);
    narrow.arrive(1, Width::of(9)).expect("has all seats");
    narrow.pump(|_| ms(1));
    assert_eq!(narrow.arrive(1, Width::of(1)), Err(Refusal::ConcurrencyLimit));
    // And none is served where there are no seats at all.
    assert_eq!(Server::new(Response::Reject, 0).arrive(1, Width::of(1)), Err(Refusal::ConcurrencyLimit));
}

#[test]
fn the_exempt_are_always_served() {
    let mut server = Server::new(Response::Exempt, 0);
    for _ in 0..1000 {
        server.arrive(1, Width::of(10)).expect("is exempt");
        server.pump(|_| ms(1));
    }
    assert_eq!((server.set.executing(), server.set.waiting()), (1000, 0));
}

#[test]
fn a_wide_request_waits_for_its_seats_and_is_not_overtaken() {
    let mut server = Server::new(QUEUES, 4);
    for _ in 0..4 {
        server.arrive(1, Width::of(1)).expect("has a seat");
    }
    server.pump(|_| ms(10));
    server.arrive(2, Width::of(4)).expect("waits");
    server.pump(|_| ms(10));
    for _ in 0..12 {
        server.step();
        let _ = server.arrive(1, Width::of(1));
        server.pump(|_| ms(10));
    }
    assert!(server.order.contains(&2), "{:?}", server.order);
}

#[test]
fn writes_keep_seats_while_watchers_hear_of_them() {
    let mut set = QueueSet::new(QUEUES, 10);
    let width = Width { seats: 1, final_seats: 4, final_for: ms(5) };
    set.arrive(ms(0), 1, 7, width).expect("is taken in");
    assert_eq!(set.next(ms(0)), Some(1));
    assert_eq!(set.seats_in_use(), 4);
    assert_eq!(set.finish(ms(2), 1), Some(ms(5)));
    assert_eq!((set.seats_in_use(), set.is_idle()), (4, false));
    set.release(ms(7), 1);
    assert_eq!((set.seats_in_use(), set.is_idle()), (0, true));
    set.release(ms(8), 1);
    assert_eq!(set.finish(ms(8), 1), None);
}

#[test]
fn another_configuration_keeps_what_waits() {
    let mut server = Server::new(QUEUES, 1);
    for flow in 0..20 {
        server.arrive(flow, Width::of(1)).expect("is taken in");
    }
    server.pump(|_| ms(1));
    server.set.configure(server.now, Response::Queue { queues: 2, hand: 1, length_limit: 1 });
    server.set.set_limit(server.now, 3);
    server.pump(|_| ms(1));
    assert_eq!(server.set.executing(), 3);
    while server.step().is_some() {
        server.pump(|_| ms(1));
    }
    assert!(server.set.is_idle() && server.order.len() == 20);
    assert_eq!(server.set.view().len(), 2);
    server.set.configure(server.now, QUEUES);
    assert_eq!(server.set.view().len(), 64);
}

proptest! {
    #[test]
    fn nothing_is_lost_and_no_seat_is_given_twice(
        limit in 1u32..20,
        steps in proptest::collection::vec((0u8..5, 0u64..6, 1u32..5, 0u64..20), 1..300),
    ) {
        let response = Response::Queue { queues: 8, hand: 3, length_limit: 5 };
        let mut set = QueueSet::new(response, limit);
        let (mut now, mut next) = (Duration::ZERO, 0);
        let (mut waiting, mut served, mut last) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (what, flow, seats, pass) in steps {
            now += ms(pass);
            match what {
                0 | 1 => {
                    next += 1;
                    let width = Width { seats, final_seats: (seats + 1) * u32::from(what), final_for: ms(u64::from(what)) };
                    if set.arrive(now, next, hash(flow), width).is_ok() {
                        waiting.insert(next, width);
                    } else {
                        let asked_for: u32 = waiting.values().map(Width::most).sum();
                        prop_assert!(set.seats_in_use() + asked_for >= limit);
                    }
                }
                2 => while let Some(id) = set.next(now) {
                    served.insert(id, waiting.remove(&id).expect("it waited"));
                },
                3 => if let Some((id, width)) = served.pop_first() {
                    match set.finish(now, id) {
                        Some(_) => drop(last.insert(id, width)),
                        None => prop_assert!(width.final_seats == 0),
                    }
                },
                _ => {
                    if let Some((id, _)) = last.pop_first() {
                        set.release(now, id);
                    } else if let Some((id, _)) = waiting.pop_first() {
                        prop_assert!(set.cancel(now, id));
                        prop_assert!(!set.cancel(now, id));
                    }
                }
            }
            let seats: u32 = served.values().map(Width::most).sum::<u32>()
                + last.values().map(|width| width.final_seats).sum::<u32>();
            prop_assert_eq!(set.seats_in_use(), seats);
            prop_assert_eq!((set.waiting(), set.executing()), (waiting.len(), served.len() + last.len()));
            let views = set.view();
            prop_assert_eq!(views.iter().map(|view| view.waiting.len()).sum::<usize>(), waiting.len());
            prop_assert_eq!(views.iter().map(|view| view.executing).sum::<usize>(), served.len() + last.len());
            // Room is never left while somebody waits for no more than it, but for a wide one that comes first.
            if served.len() + last.len() <= 1 || seats <= limit {
                prop_assert!(seats <= limit || served.len() + last.len() == 1);
            }
            prop_assert!(set.virtual_time().is_finite());
        }
        // Whatever is left comes to its end.
        for _ in 0..2000 {
            now += ms(1);
            while let Some(id) = set.next(now) {
                served.insert(id, waiting.remove(&id).expect("it waited"));
            }
            if let Some((id, _)) = served.pop_first() && set.finish(now, id).is_some() {
                set.release(now, id);
            }
            if let Some((id, _)) = last.pop_first() {
                set.release(now, id);
            }
        }
        prop_assert!(set.is_idle() && waiting.is_empty());
    }
}
