//! Stub.
#![forbid(unsafe_code)]
fn main(){
    let a: Vec<String> = std::env::args().collect();
    let mut s = sim::scenario::Scenario { nodes: a[1].parse().unwrap(), lookups: a[2].parse().unwrap(), minutes: a[3].parse().unwrap(), ..Default::default() };
    s.churn.per_hour = a[4].parse().unwrap();
    s.paths = a[5].parse().unwrap();
    if let Some(r) = a.get(6) { s.network.regions = vec![r.clone()]; }
    let t = std::time::Instant::now();
    let mut o = sim::run::simulate(&s, &mut |_,_,_|{});
    let f = sim::run::figures::Figures::of(&mut o, t.elapsed().as_secs_f64());
    print!("{}", f.table());
}
