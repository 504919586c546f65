//! The `cloakroom-model` command.
use cloakroom_model::{check_pool::*, search};
use cloakroom_pool::Policy;
fn main() {
    let base = Bounds { size: 2, shape: (2,1), policy: Policy::LowestFirst, calls: &[2,2], deaths: 0, unknowns: 0, cuts: 0, again: false };
    let list: Vec<(&str, Bounds)> = vec![

        ("2x3 u1 d1 again", Bounds { calls: &[3,3], unknowns: 1, deaths: 1, again: true, ..base }),
        ("3x2 d2", Bounds { calls: &[2,2,2], deaths: 2, ..base }),
        ("3x2 d2 again", Bounds { calls: &[2,2,2], deaths: 2, again: true, ..base }),
        ("n4 2x3 d1 u1", Bounds { size: 4, calls: &[3,3], deaths: 1, unknowns: 1, ..base }),
        ("n3 2x3 d1 u1", Bounds { size: 3, calls: &[3,3], deaths: 1, unknowns: 1, ..base }),
        ("n4 3x1-2", Bounds { size: 4, calls: &[2,2,1], ..base }),
        ("n4 3x1-2 d1", Bounds { size: 4, calls: &[2,1,1], deaths: 1, ..base }),
        ("n4 3x1-2 spread", Bounds { size: 4, calls: &[2,2,1], policy: Policy::Spread, ..base }),
        ("n4 (2,2) 3x2 d1", Bounds { size: 4, shape: (2,2), calls: &[2,2,2], deaths: 1,..base }),
        ("n4 (4,1) 3x2 d1", Bounds { size: 4, shape: (4,1), calls: &[2,2,2], deaths: 1,..base }),
        ("n5 (2,2) 2x3 d1 u1", Bounds { size: 5, shape: (2,2), calls: &[3,3], deaths: 1, unknowns: 1,..base }),
        ("4x1 d1", Bounds { calls: &[1,1,1,1], deaths: 1, ..base }),
    ];
    use cloakroom_model::check_recovery as r;
    use r::Rules;
    if std::env::args().nth(1).as_deref() == Some("rec") {
        let base = r::Bounds { size: 2, shape: (2,1), policy: Policy::LowestFirst, sessions: &[1,1], deaths: 1, unknowns: 0, recoveries: 1, rules: Rules::KEPT };
        for (name, b) in [
            ("2x1 d1 r1", base),
            ("2x1 d1 u1 r1", r::Bounds { unknowns: 1, ..base }),
            ("n3 2x1 d2 r1", r::Bounds { size: 3, deaths: 2, ..base }),
            ("2x1 d2 r2", r::Bounds { deaths: 2, recoveries: 2, ..base }),
            ("2,1 d2 r2", r::Bounds { deaths: 2, recoveries: 2, sessions: &[2,1], ..base }),
            ("n4 (2,2) 2x1 d2 r2 u1", r::Bounds { size: 4, shape: (2,2), deaths: 2, recoveries: 2, unknowns: 1, ..base }),
            ("rule1", r::Bounds { rules: Rules { write_first: false, ..Rules::KEPT }, ..base }),
            ("rule2", r::Bounds { rules: Rules { free_unused: false, ..Rules::KEPT }, ..base }),
            ("rule3", r::Bounds { rules: Rules { until_returned: false, ..Rules::KEPT }, ..base }),
            ("rule4", r::Bounds { rules: Rules { look_after_reading: false, ..Rules::KEPT }, ..base }),
        ] {
            let m = r::CheckRecovery::new(b);
            let t = std::time::Instant::now();
            let own = search::with_our_own(&m, |_| {});
            println!("{name}: own {:?} {:?}", t.elapsed(), own);
            if own.wrong.is_some() { println!("{:?}", search::shortest(&m)); }
        }
        return;
    }
    let want = std::env::args().nth(1);
    for (name, b) in list {
        if want.as_ref().is_some_and(|w| w != name) { continue; }
        let m = CheckPool::new(b);
        let t = std::time::Instant::now();
        let own = search::with_our_own(&m, |_| {});
        println!("{name}: own {:?} {:?}", t.elapsed(), own);
        let t = std::time::Instant::now();
        let sr = search::with_stateright(&m, 2);
        println!("{name}: sr {:?} {:?}", t.elapsed(), sr);
    }
}
