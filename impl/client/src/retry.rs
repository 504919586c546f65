//! All attempts of a call: when another one is right, and what it must say.
//!
//! | what an attempt has brought | the next one |
//! |---|---|
//! | it was not sent, or 503 with `outcome: none` | anywhere, as if for the first time |
//! | unknown, with a bound | anywhere, bound |
//! | unknown without a bound, or no answer | there or elsewhere, saying that it comes again |
//! | anything else | none: that is the answer |
//!
//! Invariants: CLIENT-1.
//!
//! What it does not do: know what is called.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cloakroom_kademlia::{Balance, Choice, Random, Situation, Strategy};
use cloakroom_wire::{Address, NodeId};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request};
use serde::Deserialize;
use tokio::time::Instant;

use crate::endpoint::{Endpoint, Failed, Got};
use crate::{ClientError, Options};

/// Between two rounds over all endpoints.
const PAUSE: Duration = Duration::from_millis(50);
/// One attempt that has no answer is given up after so long, so that another node may be tried.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client of a cluster. Calls may be made by many at once.
#[derive(Debug)]
pub struct Client {
    endpoints: Vec<Endpoint>,
    deadline: Duration,
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
    /// [`ClientError::Endpoint`], [`ClientError::Strategy`], [`ClientError::Entropy`]
    pub fn new(options: &Options) -> Result<Self, ClientError> {
        let balance = Balance::named(&options.strategy)
            .ok_or_else(|| ClientError::Strategy { got: options.strategy.clone() })?;
        let endpoints: Vec<Endpoint> =
            options.endpoints.iter().map(|text| endpoint(text)).collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(ClientError::Endpoint(String::new()));
        }
        let seed = u64::from_be_bytes(random()?);
        let balance = Mutex::new((balance, Random::new(seed)));
        Ok(Self { endpoints, deadline: options.deadline, balance })
    }

    /// All attempts of a call.
    pub(crate) async fn call(&self, ask: Ask<'_>) -> Result<Got, ClientError> {
        let until = Instant::now() + self.deadline;
        let operation =
            random::<16>()?.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let mut doubt = Doubt::default();
        loop {
            for number in self.order(&ask.path) {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(given_up(&doubt));
                }
                let endpoint = &self.endpoints[number];
                let patience = left.min(PATIENCE);
                let request = request(endpoint.address, &ask, &operation, &doubt, patience);
                let got = endpoint.send(request, patience).await;
                let changes = ask.method != Method::GET;
                if let Some(end) = judge(endpoint.address, changes, got, &mut doubt) {
                    return end;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// All endpoints, the one first that the strategy says.
    fn order(&self, path: &str) -> Vec<usize> {
        let mut left: Vec<(usize, Choice)> = self
            .endpoints
            .iter()
            .enumerate()
            .map(|(number, endpoint)| (number, endpoint.choice(number)))
            .collect();
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        let (strategy, random) = &mut *balance;
        let mut point = [0; 32];
        for (to, from) in point.iter_mut().zip(path.bytes()) {
            *to = from;
        }
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
    address: SocketAddr,
    ask: &Ask<'_>,
    operation: &str,
    doubt: &Doubt,
    patience: Duration,
) -> Request<Full<Bytes>> {
    let timeout_ms = patience.as_millis().clamp(1, 60_000).to_string();
    let mut request = Request::builder()
        .method(ask.method.clone())
        .uri(&ask.path)
        .header("host", address.to_string())
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

/// What follows from an attempt: the end, or another one.
fn judge(
    endpoint: SocketAddr,
    changes: bool,
    got: Result<Got, Failed>,
    doubt: &mut Doubt,
) -> Option<Result<Got, ClientError>> {
    let got = match got {
        Ok(got) => got,
        Err(Failed::NotSent(cause)) => {
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
        return Some(Err(ClientError::Answer { endpoint, got }));
    };
    let Problem { kind, title, detail, outcome, version, bound } = problem;
    if outcome == "unknown" {
        doubt.again |= changes;
        doubt.bound = bound.or(doubt.bound);
        doubt.cause = Some(format!("{endpoint}: {detail}"));
        return None;
    }
    if got.status.as_u16() == 503 {
        doubt.cause = Some(format!("{endpoint}: {detail}"));
        return None;
    }
    let kind = kind.rsplit(':').next().unwrap_or_default().to_string();
    Some(Err(ClientError::Refused { kind, title, detail, version }))
}

fn given_up(doubt: &Doubt) -> ClientError {
    let cause = doubt.cause.clone().unwrap_or_else(|| "the deadline is over".to_string());
    if doubt.again { ClientError::Unknown(cause) } else { ClientError::Unavailable(cause) }
}

fn endpoint(text: &str) -> Result<Endpoint, ClientError> {
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let address = address.replacen("localhost:", "127.0.0.1:", 1);
    let address = address.parse().map_err(|_| ClientError::Endpoint(text.to_string()))?;
    Ok(Endpoint::new(address))
}

fn random<const N: usize>() -> Result<[u8; N], ClientError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ClientError::Entropy)?;
    Ok(bytes)
}
