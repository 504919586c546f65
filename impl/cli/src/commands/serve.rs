//! `serve`: a node, its HTTP paths, and a clean end.
//!
//! Invariants:
//! * the URLs are printed when requests are answered, not before;
//! * SIGHUP: certificates and revocations are read anew (`certificates.rs`);
//! * with `--until-stdin-ends` the end of its standard input tells it so too: whoever has started it may die of
//!   anything;
//! * who is told to end by SIGTERM says so at `/readyz` before it lets nobody in any more; it answers what is under
//!   way, then closes the disk. Told a second time, it ends at once, as if it were killed;
//! * a node whose disk has failed votes no more, and the process stays: `/readyz` says so, other requests are
//!   answered as unavailable, until somebody has seen to it. Its end is a failure of the command.
//!
//! What it does not do: become a daemon.

use std::fmt::Write;
use std::fs::File;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cloakroom_kademlia::Parameters;
use cloakroom_node::{Genesis, Patience};
use cloakroom_register::Waits;
use cloakroom_rest::{App, Gate, ListenError, Listening, listen, listen_https};
use cloakroom_server::{DEFAULT_SLOTS, NodeFolder, Server, ServerConfig, ServerError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tracing::error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::Done;
use super::certificates::{Certificates, LOOK};
#[cfg(feature = "otel")]
use super::otel::Traces;
use crate::args::{HttpArg, LogFormat, ServeArgs};
use crate::error::Error;
use crate::output::{print, say};
use crate::settings::{Setting, shown};

/// Whose lines a directive may ask for by the name alone.
const CRATES: [&str; 12] = [
    "cloakroom",
    "cloakroom_cli",
    "cloakroom_client",
    "cloakroom_kademlia",
    "cloakroom_node",
    "cloakroom_pool",
    "cloakroom_register",
    "cloakroom_rest",
    "cloakroom_server",
    "cloakroom_shards",
    "cloakroom_stores",
    "cloakroom_wire",
];

/// Half of the processors: a node is one task, its disk has a thread of its own, and what is woken on another worker
/// costs more than it brings.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

pub(super) fn serve(args: &ServeArgs, settings: &[Setting]) -> Result<Done, Error> {
    check(args)?;
    if args.check_config {
        print(shown(settings).as_bytes())?;
        return Ok(Done::Yes);
    }
    // To its end.
    let _log = Log::begin(args)?;
    let system = |cause| Error::System { what: "threads", cause };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(workers()).enable_all().build().map_err(system)?;
    let done = runtime.block_on(run(args));
    // What is cut off is waited for by nobody.
    runtime.shutdown_background();
    done
}

/// What no setting can be told by itself.
fn check(args: &ServeArgs) -> Result<(), Error> {
    filter(args)?;
    if let Some(path) = args.authority.as_ref().filter(|path| !path.join("authority.key").exists())
    {
        return Err(Error::NotAuthority { path: path.clone() });
    }
    for path in args.https_cert.iter().chain(&args.https_key) {
        File::open(path).map_err(|cause| Error::Read { path: path.clone(), cause })?;
    }
    match args.http {
        HttpArg::At(address) if !address.ip().is_loopback() => {
            Err(ListenError::NotLoopback(address).into())
        }
        HttpArg::Off if args.https.is_none() => Err(Error::NothingServed),
        _ => Ok(()),
    }
}

fn filter(args: &ServeArgs) -> Result<EnvFilter, Error> {
    if let Some(got) = args.log.split(',').find(|directive| is_mistyped(directive)) {
        return Err(Error::LogLevel(got.to_owned()));
    }
    EnvFilter::try_new(&args.log).map_err(|cause| Error::Log(cause.to_string()))
}

/// Whether a directive without `=` is neither a level nor a crate of ours. It would be taken as the name of one that
/// logs nothing.
fn is_mistyped(directive: &str) -> bool {
    let target = directive.split("::").next().unwrap_or_default();
    let is_plain = !directive.is_empty() && !directive.contains(['=', '[']);
    is_plain && directive.parse::<LevelFilter>().is_err() && !CRATES.contains(&target)
}

/// Where lines and traces go.
struct Log {
    #[cfg(feature = "otel")]
    _traces: Option<Traces>,
}

impl Log {
    fn begin(args: &ServeArgs) -> Result<Self, Error> {
        let filter = filter(args)?;
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let log = match args.log_format {
            LogFormat::Text => log.with_ansi(false).with_filter(filter).boxed(),
            LogFormat::Json => log.json().with_filter(filter).boxed(),
        };
        let to = tracing_subscriber::registry().with(log);
        #[cfg(feature = "otel")]
        {
            let traces = args.otlp.as_deref().map(Traces::begin).transpose()?;
            to.with(traces.as_ref().map(Traces::layer)).init();
            Ok(Self { _traces: traces })
        }
        #[cfg(not(feature = "otel"))]
        {
            to.init();
            Ok(Self {})
        }
    }
}

async fn run(args: &ServeArgs) -> Result<Done, Error> {
    let mut signals = Signals::new().map_err(|cause| Error::System { what: "signals", cause })?;
    signals.starter = args.until_stdin_ends.then(end_of_stdin);
    // Before a folder is made.
    let plain = match args.http {
        HttpArg::At(address) => Some(listen(address).await?),
        HttpArg::Off => None,
    };
    if !args.folder.exists() {
        NodeFolder::found_alone(&args.folder, DEFAULT_SLOTS)?;
    }
    if matches!(args.folder.join("node.key").try_exists(), Ok(false)) {
        return Err(Error::NoNode { path: args.folder.clone() });
    }
    let mut certificates = Certificates::new(args)?;
    let folder = NodeFolder::open(&args.folder)?;
    let https = match args.https {
        Some(address) => Some(listen_https(address, certificates.tls(&folder.credentials)?).await?),
        None => None,
    };
    let data = std::path::absolute(&args.folder).unwrap_or_else(|_| args.folder.clone());
    let cluster = folder.credentials.cluster().to_owned();
    let genesis = folder.genesis.clone();
    let server = Arc::new(Server::start(config(args, folder)?)?);
    if let Some(authority) = certificates.authority() {
        server.renew_for_others(authority.to_owned());
    }
    let gate = Gate::new(args.limits.of_clients());
    let app = App::within(gate.clone(), Arc::clone(&server), cluster, genesis);
    let router = app.clone().router();
    let watching = tokio::spawn(app.clone().watch());
    let mut told = String::new();
    for (scheme, listening) in [("http", &plain), ("https", &https)] {
        if let Some(listening) = listening {
            let _ = writeln!(told, "cloakroom serves {scheme}://{}", listening.address());
        }
    }
    print(format!("{told}its data is in {}\n", data.display()).as_bytes())?;
    let over = watch::Sender::new(false);
    let serve = async |listening: Option<Listening>| {
        if let Some(listening) = listening {
            let mut over = over.subscribe();
            // It is sent below.
            let end = async move { drop(over.wait_for(|is_over| *is_over).await) };
            listening.behind(gate.clone()).serve(router.clone(), end).await;
        }
    };
    let mut serving = pin!(async { tokio::join!(serve(plain), serve(https)) });
    let grace = tokio::select! {
        told = signals.obey(&server, certificates) => match told {
            Told::Terminate if !server.has_stopped() => args.end_grace(),
            _ => Duration::ZERO,
        },
        _ = &mut serving => unreachable!("they end when they are told to, below"),
    };
    app.leave();
    let ends = async {
        tokio::select! {
            () = tokio::time::sleep(grace) => {}
            _ = &mut serving => unreachable!("nobody has told them yet"),
        }
        over.send_replace(true);
        serving.await;
        if server.has_stopped() {
            return Err(ServerError::Stopped.into());
        }
        // Its end is no failure of the disk.
        watching.abort();
        server.stop().await;
        say("cloakroom has ended");
        Ok(Done::Yes)
    };
    tokio::select! {
        ended = ends => ended,
        () = signals.told_again() => {
            say("cloakroom has ended at once: what was under way is cut off");
            Ok(Done::Refused)
        }
    }
}

/// Who has told it to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Whoever looks after services.
    Terminate,
    /// Somebody at a terminal, or whoever has started it, who has gone.
    Interrupt,
}

/// What a process can be told.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Whose end is ours.
    starter: Option<oneshot::Receiver<()>>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            starter: None,
        })
    }

    async fn told_again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Looks after the certificates until it is told to end.
    async fn obey(&mut self, server: &Arc<Server>, mut certificates: Certificates) -> Told {
        let mut looks = tokio::time::interval(LOOK);
        let mut has_failed = false;
        let starter = self.starter.take();
        let mut has_gone = std::pin::pin!(async {
            match starter {
                Some(gone) => drop(gone.await),
                None => std::future::pending().await,
            }
        });
        loop {
            tokio::select! {
                () = &mut has_gone => return Told::Interrupt,
                _ = self.interrupt.recv() => return Told::Interrupt,
                _ = self.terminate.recv() => return Told::Terminate,
                () = server.stopped(), if !has_failed => {
                    has_failed = true;
                    error!("votes no more: mend the disk, then start it again");
                    // Its peers need not wait to find out.
                    server.stop().await;
                }
                _ = self.hangup.recv() => certificates.reload(server),
                _ = looks.tick() => certificates.look(server),
            }
        }
    }
}

/// Says when standard input has ended.
fn end_of_stdin() -> oneshot::Receiver<()> {
    let (held, gone) = oneshot::channel();
    // Not one of the runtime's threads, whose end it waits for.
    std::thread::spawn(move || {
        let _held = held;
        // An error is an end.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    });
    gone
}

fn config(args: &ServeArgs, folder: NodeFolder) -> Result<ServerConfig, Error> {
    let own = folder.own().map(|founder| SocketAddr::from(founder.contact.address));
    let any = || SocketAddr::from(([127, 0, 0, 1], 0));
    let listen = args.listen.or(own).unwrap_or_else(any);
    let everywhere = listen.ip().is_unspecified();
    // Who listens everywhere is where the others expect it, if they do.
    let expected = own.filter(|own| everywhere && !own.ip().is_unspecified());
    let advertise = args.advertise.or(expected);
    if advertise.unwrap_or(listen).ip().is_unspecified() {
        return Err(Error::NoAddress(advertise.unwrap_or(listen)));
    }
    let data = folder.data();
    let NodeFolder { credentials, genesis, .. } = folder;
    let subnets = Parameters::default().subnets.filter(|_| !is_one_machine(&genesis));
    Ok(ServerConfig {
        listen,
        advertise,
        credentials,
        data,
        parameters: Parameters { subnets, ..Parameters::default() },
        genesis,
        waits: Waits::default(),
        patience: Patience::default(),
        limits: args.limits.of_peers(),
    })
}

/// Where all founders are on loopback, limits on contacts of one subnet would keep them apart.
fn is_one_machine(genesis: &Genesis) -> bool {
    let addresses = genesis.founders().iter().map(|it| SocketAddr::from(it.contact.address));
    addresses.into_iter().all(|address| address.ip().is_loopback())
}
