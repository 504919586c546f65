//! All attempts of a call: when another one is right, and what it must say.
//!
//! | what an attempt has brought | the next one |
//! |---|---|
//! | it was not sent, or 429 or 503 with `outcome: none` | anywhere, as if for the first time |
//! | unknown, with a bound | anywhere, bound |
//! | unknown without a bound, or no answer | there or elsewhere, saying that it comes again |
//! | all nodes and we do not trust each other, and nothing may have been carried out | none |
//! | refused, of a call that no node knows again, and an earlier one may have been carried out | none: unknown |
//! | anything else | none: that is the answer |
//!
//! When all endpoints have been tried, the next round waits: twice as long each time, and not as long as others.
//!
//! Invariants: CLIENT-1.
//!
//! What it does not do: know what is called.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use cloakroom_kademlia::{Balance, Choice, Random, Situation, Strategy};
use cloakroom_wire::{Address, NodeId};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::time::Instant;

use crate::endpoint::{Endpoint, Failed, Got, Way};
use crate::{ClientError, Options, trust};

/// Between the first two rounds over all endpoints, about; then twice as long each time,
const PAUSE_MS: u64 = 50;
/// and at most about so long.
const LONGEST_PAUSE_MS: u64 = 1_600;
/// One attempt that has no answer is given up after so long, so that another node may be tried;
const PATIENCE: Duration = Duration::from_secs(5);
/// one that walks a whole pool is not done sooner elsewhere, and has as long as a node gives it.
const WALKING: Duration = Duration::from_mins(1);

/// A client of a cluster. Calls may be made by many at once.
#[derive(Debug)]
pub struct Client {
    endpoints: Vec<Endpoint>,
    deadline: Duration,
    walk_deadline: Duration,
    balance: Mutex<(Balance, Random)>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: &'a [u8],
    pub(crate) effect: Effect,
    pub(crate) reach: Reach,
}

/// How much of a pool a call looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// No more than a path through it; or it is about no pool.
    Few,
    /// All of it: the larger the pool, the longer it takes.
    Whole,
}

/// What it means to carry it out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: it reads, or is idempotent.
    Harmless,
    /// A second time.
    Once,
}

/// What earlier attempts have left.
#[derive(Clone, Debug, Default)]
struct Doubt {
    /// One may have been carried out.
    again: bool,
    bound: Option<u64>,
    cause: Option<String>,
    /// How many nodes in a row were not trusted, or have not trusted us.
    distrusted: usize,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Problem {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    outcome: String,
    version: Option<u64>,
    bound: Option<u64>,
}

impl Client {
    /// A client; connects when it is first used.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`], [`ClientError::NoAuthority`], [`ClientError::Identity`],
    /// [`ClientError::Strategy`], [`ClientError::Entropy`]
    pub fn new(options: &Options) -> Result<Self, ClientError> {
        let balance = Balance::named(&options.strategy)
            .ok_or_else(|| ClientError::Strategy { got: options.strategy.clone() })?;
        let endpoints: Vec<Endpoint> = options
            .endpoints
            .iter()
            .map(|text| endpoint(text, options))
            .collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(ClientError::Endpoint(String::new()));
        }
        let seed = u64::from_be_bytes(random()?);
        let balance = Mutex::new((balance, Random::new(seed)));
        let (deadline, walk_deadline) = (options.deadline, options.walk_deadline);
        Ok(Self { endpoints, deadline, walk_deadline, balance })
    }

    /// All attempts of a call.
    pub(crate) async fn call(&self, ask: Ask<'_>) -> Result<Got, ClientError> {
        let (deadline, patience) = match ask.reach {
            Reach::Few => (self.deadline, PATIENCE),
            Reach::Whole => (self.walk_deadline, WALKING),
        };
        let until = Instant::now() + deadline;
        let operation =
            random::<16>()?.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let mut doubt = Doubt::default();
        for round in 0.. {
            for number in self.order(&ask.path) {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(given_up(&doubt));
                }
                let endpoint = &self.endpoints[number];
                let patience = left.min(patience);
                let request = request(&endpoint.name, &ask, &operation, &doubt, patience);
                let got = endpoint.send(request, patience.min(PATIENCE), patience).await;
                let distrusted = match &got {
                    Err(Failed::Distrusted(cause)) => Some(cause.clone()),
                    _ => None,
                };
                if let Some(end) = judge(&endpoint.name, &ask, got, &mut doubt) {
                    return end;
                }
                doubt.distrusted = if distrusted.is_some() { doubt.distrusted + 1 } else { 0 };
                // Another certificate will not come while we wait.
                if let Some(cause) = distrusted
                    && doubt.distrusted >= self.endpoints.len()
                    && !doubt.again
                {
                    return Err(ClientError::Distrust { endpoint: endpoint.name.clone(), cause });
                }
            }
            let pause = pause(round, &mut self.lock().1);
            tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
        }
        Err(given_up(&doubt))
    }

    fn lock(&self) -> MutexGuard<'_, (Balance, Random)> {
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All endpoints, the one first that the strategy says.
    fn order(&self, path: &str) -> Vec<usize> {
        let mut left: Vec<(usize, Choice)> =
            self.endpoints.iter().map(Endpoint::choice).enumerate().collect();
        let mut balance = self.lock();
        let (strategy, random) = &mut *balance;
        let point = hashed(subject(path).as_bytes());
        let mut order = Vec::new();
        while !left.is_empty() {
            let choices: Vec<Choice> = left.iter().map(|(_, choice)| *choice).collect();
            let mut situation = Situation {
                point: NodeId(point),
                own: Address::from(SocketAddr::from(([127, 0, 0, 1], 0))),
                tried: order.len(),
                random,
            };
            let chosen = strategy.choose(&choices, &mut situation).unwrap_or(0);
            order.push(left.remove(chosen.min(left.len() - 1)).0);
        }
        order
    }
}

fn request(
    host: &str,
    ask: &Ask<'_>,
    operation: &str,
    doubt: &Doubt,
    patience: Duration,
) -> Request<Full<Bytes>> {
    let timeout_ms = patience.as_millis().clamp(1, 60_000).to_string();
    let mut request = Request::builder()
        .method(ask.method.clone())
        .uri(&ask.path)
        .header("host", host)
        .header("cloakroom-timeout-ms", timeout_ms);
    for (name, value) in &ask.headers {
        request = request.header(*name, value);
    }
    if ask.effect == Effect::Once {
        request = request.header("cloakroom-operation", operation);
        // CLIENT-1: whoever has not carried it out, must not do so now.
        if let Some(bound) = doubt.bound {
            request = request.header("cloakroom-bound", bound.to_string());
        } else if doubt.again {
            request = request.header("cloakroom-again", "true");
        }
    }
    let body = Full::new(Bytes::copy_from_slice(ask.body));
    request.body(body).expect("paths and headers are made here, of what fits there")
}

/// Before the next round: those who failed together do not come again together.
fn pause(round: u32, random: &mut Random) -> Duration {
    let around = PAUSE_MS.saturating_mul(1 << round.min(16)).min(LONGEST_PAUSE_MS);
    Duration::from_millis(random.about(around))
}

/// What follows from an attempt: the end, or another one.
fn judge(
    endpoint: &str,
    ask: &Ask<'_>,
    got: Result<Got, Failed>,
    doubt: &mut Doubt,
) -> Option<Result<Got, ClientError>> {
    let changes = ask.method != Method::GET;
    let got = match got {
        Ok(got) => got,
        Err(Failed::NotSent(cause) | Failed::Distrusted(cause)) => {
            doubt.cause = Some(format!("{endpoint}: {cause}"));
            return None;
        }
        Err(Failed::Lost(cause)) => {
            doubt.again |= changes;
            doubt.cause = Some(format!("{endpoint}: {cause}"));
            return None;
        }
    };
    if got.status.is_success() {
        return Some(Ok(got));
    }
    let Ok(problem) = serde_json::from_slice::<Problem>(&got.body) else {
        let got = got.status.to_string();
        return Some(Err(ClientError::Answer { endpoint: endpoint.to_string(), got }));
    };
    let Problem { kind, title, detail, outcome, version, bound } = problem;
    if outcome == "unknown" {
        doubt.again |= changes;
        doubt.bound = bound.or(doubt.bound);
        doubt.cause = Some(format!("{endpoint}: {detail}"));
        return None;
    }
    if [429, 503].contains(&got.status.as_u16()) {
        doubt.cause = Some(format!("{endpoint}: {detail}"));
        return None;
    }
    // CLIENT-1: without an operation id the node has judged this attempt alone.
    if doubt.again && ask.effect == Effect::Harmless {
        let cause =
            format!("{endpoint}: an earlier attempt may have done it; later: {title}: {detail}");
        return Some(Err(ClientError::Unknown(cause)));
    }
    let kind = kind.rsplit(':').next().unwrap_or_default().to_string();
    Some(Err(ClientError::Refused { kind, title, detail, version }))
}

/// What a call is about. All calls about one pool or one key have the same closest endpoint, whoever makes
/// them: one node carries them out together, where several would be in each other's way.
fn subject(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or(path);
    let end = path.match_indices('/').nth(3).map_or(path.len(), |(at, _)| at);
    &path[..end]
}

fn given_up(doubt: &Doubt) -> ClientError {
    let cause = doubt.cause.clone().unwrap_or_else(|| "the deadline is over".to_string());
    if doubt.again { ClientError::Unknown(cause) } else { ClientError::Unavailable(cause) }
}

fn endpoint(text: &str, options: &Options) -> Result<Endpoint, ClientError> {
    let wrong = || ClientError::Endpoint(text.to_string());
    let (text, weight) = match text.split_once("#weight=") {
        Some((text, weight)) => {
            let weight = weight.parse().ok().filter(|weight| *weight > 0);
            (text, weight.ok_or_else(wrong)?)
        }
        None => (text, 1),
    };
    if let Some(rest) = text.strip_prefix("https://") {
        let name = rest.trim_end_matches('/');
        let (host, port) = name.rsplit_once(':').ok_or_else(wrong)?;
        let _: u16 = port.parse().map_err(|_| wrong())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
        let host = ServerName::try_from(host).map_err(|_| wrong())?;
        let authority = options.authority.as_deref();
        let authority = authority.ok_or_else(|| ClientError::NoAuthority(text.to_string()))?;
        let config = trust::config(authority, options.identity.as_ref())?;
        return Ok(Endpoint::new(name.to_string(), Way::Tls(host, config), weight));
    }
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let address = address.replacen("localhost:", "127.0.0.1:", 1);
    let address: SocketAddr = address.parse().map_err(|_| wrong())?;
    Ok(Endpoint::new(address.to_string(), Way::Plain, weight))
}

/// A place that says nothing about what is hashed.
pub(crate) fn hashed(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn random<const N: usize>() -> Result<[u8; N], ClientError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ClientError::Entropy)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::Policy;

    /// A node that answers each request with the time that it was given for it, in milliseconds.
    async fn node_that_tells_its_time() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                let mut stream = BufReader::new(listener.accept().await.unwrap().0);
                let mut given = String::new();
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    if let Some(ms) = line.strip_prefix("cloakroom-timeout-ms: ") {
                        given = ms.trim().to_string();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                }
                let body = format!(r#"{{"title":"{given}"}}"#);
                let head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: ";
                let answer = format!("{head}{}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    fn given_ms<T>(told: Result<T, ClientError>) -> u64 {
        match told {
            Err(ClientError::Refused { title, .. }) => title.parse().unwrap(),
            Err(other) => panic!("expected the time, got {other}"),
            Ok(_) => panic!("expected the time, got what was asked for"),
        }
    }

    #[tokio::test]
    async fn an_attempt_that_walks_a_pool_has_all_the_time_that_is_left_and_others_five_seconds() {
        let endpoints = vec![node_that_tells_its_time().await];
        let client = |walk_s| {
            let walk_deadline = Duration::from_secs(walk_s);
            let options =
                Options { endpoints: endpoints.clone(), walk_deadline, ..Options::default() };
            Client::new(&options).unwrap()
        };
        // A node gives a call no more than a minute.
        for (walk_s, most_ms) in [(20, 20_000), (120, 60_000)] {
            let client = client(walk_s);
            for given in [
                given_ms(client.list("p", "").await),
                given_ms(client.find("p", "t").await),
                given_ms(client.recover("p", &[], true).await),
                given_ms(client.delete_pool("p").await),
            ] {
                assert!((most_ms - 5_000..=most_ms).contains(&given), "{walk_s} s: {given}");
            }
            for given in [
                given_ms(client.allocate("p", "t").await),
                given_ms(client.free("p", 0, "t").await),
                given_ms(client.usage("p").await),
                given_ms(client.create_pool("p", 1, Policy::Spread).await),
                given_ms(client.get("k").await),
                given_ms(client.records("k").await),
            ] {
                assert!((1..=5_000).contains(&given), "{walk_s} s: {given}");
            }
        }
    }

    #[test]
    fn rounds_come_ever_more_seldom_and_not_all_at_once() {
        let mut random = Random::new(1);
        let mut waits = |round| (0..100).map(|_| pause(round, &mut random)).collect::<Vec<_>>();
        for (round, around) in [(0, 50), (1, 100), (4, 800), (5, 1_600), (40, 1_600)] {
            let waits = waits(round);
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            let around = Duration::from_millis(around);
            assert!(
                *least >= around / 2 && *most <= around * 3 / 2,
                "{round}: {least:?} to {most:?}"
            );
            assert!(*most > *least, "{round}: all wait for {least:?}");
        }
    }

    #[test]
    fn a_refusal_is_none_of_a_free_that_an_earlier_attempt_may_have_done() {
        let refused = || {
            let body = r#"{"type":"x:not-owner","title":"T","detail":"D","outcome":"none"}"#;
            let (status, headers) = (hyper::StatusCode::CONFLICT, hyper::HeaderMap::new());
            Ok(Got { status, headers, body: body.into() })
        };
        for effect in [Effect::Harmless, Effect::Once] {
            let (method, headers, path) = (Method::DELETE, Vec::new(), String::new());
            let ask = Ask { method, path, headers, body: &[], effect, reach: Reach::Few };
            let mut doubt = Doubt::default();
            let Some(Err(first)) = judge("n", &ask, refused(), &mut doubt) else { panic!() };
            assert!(first.is_refusal("not-owner"), "{first:?}");
            assert!(judge("n", &ask, Err(Failed::Lost("cut".into())), &mut doubt).is_none());
            let Some(Err(later)) = judge("n", &ask, refused(), &mut doubt) else { panic!() };
            // What has an operation id is refused as itself.
            assert_eq!(later.is_refusal("not-owner"), effect == Effect::Once, "{later:?}");
            if let ClientError::Unknown(cause) = later {
                assert!(cause.contains("T: D"), "{cause}");
            }
        }
    }

    #[test]
    fn calls_about_one_pool_go_to_one_endpoint_and_those_about_many_pools_to_all() {
        let endpoints = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(str::to_string);
        let options = Options { endpoints: endpoints.to_vec(), ..Options::default() };
        let client = Client::new(&options).unwrap();
        let mut first = [0; 3];
        for number in 0..300 {
            let pool = format!("/v1/pools/p{number}");
            let order = client.order(&format!("{pool}/allocations"));
            for path in
                [pool.clone(), format!("{pool}/allocations/7?tag=x"), format!("{pool}/usage")]
            {
                assert_eq!(client.order(&path), order);
            }
            assert_eq!(order.len(), 3);
            first[order[0]] += 1;
        }
        assert!(first.iter().all(|count| *count > 60), "{first:?}");
        assert_ne!(subject("/v1/keys/a"), subject("/v1/keys/b"));
        assert_eq!((subject("/v1/pools?limit=1"), subject("/metrics")), ("/v1/pools", "/metrics"));
    }

    #[test]
    fn a_server_of_three_times_the_weight_is_asked_first_three_times_as_often() {
        let client = |endpoints: &[&str]| {
            let endpoints = endpoints.iter().map(|text| (*text).to_string()).collect();
            let strategy = "weighted".to_string();
            Client::new(&Options { endpoints, strategy, ..Options::default() })
        };
        let weighted = client(&["127.0.0.1:1", "http://127.0.0.1:2/#weight=3"]).unwrap();
        let second = (0..4000).filter(|_| weighted.order("/v1/pools") == [1, 0]).count();
        assert!((2850..3150).contains(&second), "expected about 3000 of 4000, got {second}");
        for wrong in ["127.0.0.1:1#weight=0", "127.0.0.1:1#weight=x", "127.0.0.1:1#weight=65536"] {
            let Err(ClientError::Endpoint(got)) = client(&[wrong]) else { panic!("{wrong}") };
            assert_eq!(got, wrong);
        }
    }
}
