//! `serve`: a node, its HTTP paths, and a clean end.
//!
//! Invariants:
//! * the URL is printed when requests are answered, not before;
//! * SIGHUP: certificates and revocations are read anew;
//! * who is told to end answers what is under way, then closes the disk;
//! * a node that has stopped by itself, since its disk has failed, is a failure of the command.
//!
//! What it does not do: become a daemon.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use cloakroom_kademlia::Parameters;
use cloakroom_node::{Genesis, Patience};
use cloakroom_register::Waits;
use cloakroom_rest::{App, listen};
use cloakroom_server::{
    Credentials, DEFAULT_SLOTS, Limits, NodeFolder, Server, ServerConfig, ServerError,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use super::Done;
use crate::args::{LogFormat, ServeArgs};
use crate::error::Error;
use crate::output::{print, say};

pub(super) fn serve(args: &ServeArgs) -> Result<Done, Error> {
    begin_log(args)?;
    let system = |cause| Error::System { what: "threads", cause };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(system)?.block_on(run(args))
}

fn begin_log(args: &ServeArgs) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&args.log).map_err(|cause| Error::Log(cause.to_string()))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

async fn run(args: &ServeArgs) -> Result<Done, Error> {
    let system = |cause| Error::System { what: "signals", cause };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(system)?;
    // Before a folder is made.
    let listening = listen(args.http).await?;
    let folder = if args.folder.exists() {
        NodeFolder::open(&args.folder)?
    } else {
        NodeFolder::found_alone(&args.folder, DEFAULT_SLOTS)?
    };
    let data = std::path::absolute(&args.folder).unwrap_or_else(|_| args.folder.clone());
    let cluster = folder.credentials.cluster().to_owned();
    let genesis = folder.genesis.clone();
    let server = Arc::new(Server::start(config(args, folder))?);
    let url = format!("http://{}", listening.address());
    let router = App::new(Arc::clone(&server), cluster, genesis).router();
    let told = format!("cloakroom serves {url}\nits data is in {}\n", data.display());
    print(told.as_bytes())?;
    let end = async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                () = server.stopped() => break,
                _ = hangup.recv() => reload(&server, &args.folder),
            }
        }
    };
    listening.serve(router, end).await;
    if server.has_stopped() {
        return Err(ServerError::Stopped.into());
    }
    server.stop().await;
    say("cloakroom has ended");
    Ok(Done::Yes)
}

/// New certificates and revocations take effect; what cannot be read changes nothing.
fn reload(server: &Server, folder: &Path) {
    let own = |credentials: &Credentials| credentials.id() == server.contact().id;
    match Credentials::load(folder) {
        Ok(credentials) if own(&credentials) => match server.reload(&credentials) {
            Ok(()) => info!("has new credentials"),
            Err(cause) => warn!(%cause, "keeps its credentials"),
        },
        Ok(_) => warn!("keeps its credentials: those in the folder are another node's"),
        Err(cause) => warn!(%cause, "keeps its credentials"),
    }
}

fn config(args: &ServeArgs, folder: NodeFolder) -> ServerConfig {
    let own = folder.own().map(|founder| SocketAddr::from(founder.contact.address));
    let any = || SocketAddr::from(([127, 0, 0, 1], 0));
    let data = folder.data();
    let NodeFolder { credentials, genesis, .. } = folder;
    let subnets = Parameters::default().subnets.filter(|_| !is_one_machine(&genesis));
    ServerConfig {
        listen: args.listen.or(own).unwrap_or_else(any),
        credentials,
        data,
        parameters: Parameters { subnets, ..Parameters::default() },
        genesis,
        waits: Waits::default(),
        patience: Patience::default(),
        limits: Limits::default(),
    }
}

/// Where all founders are on loopback, limits on contacts of one subnet would keep them apart.
fn is_one_machine(genesis: &Genesis) -> bool {
    let addresses = genesis.founders().iter().map(|it| SocketAddr::from(it.contact.address));
    addresses.into_iter().all(|address| address.ip().is_loopback())
}
