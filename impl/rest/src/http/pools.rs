//! Pools: create, list, show, usage, delete.
//!
//! Invariants:
//! * a pool in which an id is held is not deleted, as far as a listing of it sees;
//! * REST-1: a creation or deletion is bound to the number of the pool that it makes or removes: an attempt
//!   after one in doubt makes no second pool, and removes no other.
//!
//! What it does not do: hand out ids. A call under way beside the deletion may still take an id of the
//! pool that is gone; no later pool has its number, so nobody else is given it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use cloakroom_pool::{List, MapError, Policy, Request as Ask, Shape};
use cloakroom_register::Version;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::request::{Asked, Document, Path, Query};
use crate::directory::{self, Definition, Refusal};
use crate::drive;
use crate::memory::Doubt;
use crate::problem::{Answer, Kind, Problem};
use crate::registers::Registers;

/// Pools on one page of a list.
const MOST_LISTED: usize = 1000;

/// Which free id is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PolicyName {
    /// The lowest.
    #[default]
    LowestFirst,
    /// One near where a hash of the tag says.
    Spread,
}

/// A pool that shall be.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPool {
    /// 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", example = "ports")]
    name: String,
    /// Ids in the pool: 0 to size - 1.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 281_474_976_710_656_u64, example = 1000)]
    size: u64,
    /// Children of a node.
    #[serde(default = "fanout", deserialize_with = "whole")]
    #[schema(minimum = 2, maximum = 1024, default = 1024)]
    fanout: u16,
    /// Slots of a block.
    #[serde(default = "block", deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 256, default = 64)]
    block: u16,
    /// Which free id is preferred.
    #[serde(default)]
    policy: PolicyName,
}

/// In JSON 7.0 is 7.
fn whole<'de, N: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<N, D::Error> {
    let number = serde_json::Number::deserialize(from)?;
    let text = number.to_string();
    let digits = text.strip_suffix(".0").unwrap_or(&text);
    let whole = digits.parse::<u64>().ok().and_then(|whole| N::try_from(whole).ok());
    whole.ok_or_else(|| D::Error::custom(format!("expected a whole number, got {number}")))
}

/// Each level of the tree is a round trip to the replicas: 65,536 ids are one level above the blocks.
fn fanout() -> u16 {
    1024
}

/// A block is written whole, with its tags, by every call that changes it.
fn block() -> u16 {
    64
}

/// A pool.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "as it stands in the JSON")]
pub(super) struct Pool {
    /// Its name.
    pool: String,
    /// Its number, which no other pool ever has.
    number: u64,
    /// How many ids it has.
    size: u64,
    /// Children of a node.
    fanout: u16,
    /// Slots of a block.
    block: u16,
    /// Which free id is preferred.
    policy: PolicyName,
}

/// Pools, in the order of their names.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Pools {
    /// Some of them.
    pools: Vec<Pool>,
    /// The `after` of the next page, if there is one.
    next: Option<String>,
}

/// How full a pool is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Usage {
    /// Its name.
    pool: String,
    /// How many ids it has.
    size: u64,
    /// How many are held, by its counts: exact when nobody is at work and none has died.
    held: u64,
    /// How many are not.
    free: u64,
}

/// Which page of a list.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Names behind this one.
    after: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
}

impl From<&Definition> for Pool {
    fn from(pool: &Definition) -> Self {
        Self {
            pool: pool.name.to_string(),
            number: pool.tree.pool().0,
            size: pool.tree.size(),
            fanout: pool.tree.shape().fanout(),
            block: pool.tree.shape().block(),
            policy: match pool.policy {
                Policy::LowestFirst => PolicyName::LowestFirst,
                Policy::Spread => PolicyName::Spread,
            },
        }
    }
}

/// All pools
#[utoipa::path(
    get, path = "/v1/pools", tag = "pools", params(Page),
    responses(
        (status = 200, body = Pools),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(app): State<App>,
    asked: Asked,
    Query(page): Query<Page>,
) -> Result<axum::Json<Pools>, Problem> {
    let limit = limit(page.limit, MOST_LISTED)?;
    let all = directory::list(&app.registers(asked.until)).await?;
    let after = page.after.unwrap_or_default();
    let behind: Vec<&Definition> = all.iter().filter(|pool| *pool.name > *after).collect();
    let pools: Vec<Pool> = behind.iter().take(limit).map(|pool| Pool::from(*pool)).collect();
    let more = behind.len() > pools.len();
    let next = pools.last().filter(|_| more).map(|pool| pool.pool.clone());
    Ok(axum::Json(Pools { pools, next }))
}

/// How many a page may have.
pub(super) fn limit(asked: Option<u64>, most: usize) -> Result<usize, Problem> {
    let Some(limit) = asked else { return Ok(most.min(100)) };
    match usize::try_from(limit) {
        Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
        _ => {
            let detail = format!("limit: expected 1 to {most}, got {limit}");
            Err(Problem::new(Kind::MALFORMED, detail))
        }
    }
}

/// Create a pool
#[utoipa::path(
    post, path = "/v1/pools", tag = "pools", request_body = NewPool,
    params(
        ("Cloakroom-Operation" = Option<String>, Header, pattern = "^[0-9a-fA-F]{32}$"),
        ("Cloakroom-Bound" = Option<u64>, Header),
        ("Cloakroom-Again" = Option<bool>, Header),
    ),
    responses(
        (status = 201, body = Pool),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create(
    State(app): State<App>,
    asked: Asked,
    Document(body): Document,
) -> Result<Response, Problem> {
    let new: NewPool = super::request::json(&body)?;
    if !directory::is_name(&new.name) {
        let detail = "name: expected 1 to 64 letters, digits, '.', '_' and '-', beginning with a \
                      letter or digit";
        return Err(Problem::new(Kind::MALFORMED, detail));
    }
    let malformed = |error| Problem::new(Kind::MALFORMED, error);
    let shape = Shape::new(new.fanout, new.block).map_err(malformed)?;
    cloakroom_pool::Tree::new(cloakroom_pool::PoolId(0), new.size, shape).map_err(malformed)?;
    let policy = match new.policy {
        PolicyName::LowestFirst => Policy::LowestFirst,
        PolicyName::Spread => Policy::Spread,
    };
    let registers = app.registers(asked.until);
    let work = |_, doubt: Option<Doubt>| async move {
        let made = match doubt {
            Some(doubt) => made_before(&registers, &new.name, doubt).await,
            None => directory::create(&registers, &new.name, new.size, shape, policy)
                .await
                .map_err(|refusal| refused(refusal, &new.name)),
        };
        let made = made.map_err(|problem| problem.after(doubt))?;
        Ok(Answer::json(StatusCode::CREATED, &Pool::from(&made)))
    };
    Ok(asked.once(&app, &body, work).await)
}

/// What a creation with an unknown outcome has made. REST-1: it is not made now. The pool may be there in an
/// instant, or may have been deleted since, and a second one would have another number.
async fn made_before(
    registers: &Registers,
    name: &str,
    doubt: Doubt,
) -> Result<Definition, Problem> {
    let found = directory::look_up(registers, name).await?;
    if let Some(made) = found.as_ref().filter(|pool| doubt == bound_to(pool)) {
        return Ok(made.clone());
    }
    let detail = match found {
        Some(other) => format!("{name:?} has the number {}", other.tree.pool()),
        None => format!("there is no {name:?}"),
    };
    Err(Problem::unknown(format!("it is not seen to have made a pool: {detail}"), None))
}

/// What a creation or deletion of this pool leaves when its outcome is unknown.
fn bound_to(pool: &Definition) -> Doubt {
    Doubt(Some(Version(pool.tree.pool().0)))
}

fn refused(refusal: Refusal, name: &str) -> Problem {
    match refusal {
        Refusal::Exists => Problem::new(Kind::POOL_EXISTS, format!("got {name:?}")),
        Refusal::Missing => no_such_pool(name),
        Refusal::TooMany => Problem::new(Kind::TOO_MANY_POOLS, format!("got {name:?}")),
        Refusal::Doubted { number, cause } => Problem::unknown(cause, Some(Version(number))),
        // At most a number was drawn, for which no pool will ever be.
        Refusal::Map(error @ MapError::Unknown { .. }) => Problem::new(Kind::UNAVAILABLE, error),
        Refusal::Map(error) => error.into(),
    }
}

/// What a pool is
#[utoipa::path(
    get, path = "/v1/pools/{pool}", tag = "pools", params(("pool" = String, Path)),
    responses(
        (status = 200, body = Pool),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(app): State<App>,
    asked: Asked,
    Path(name): Path<String>,
) -> Result<axum::Json<Pool>, Problem> {
    let pool = defined(&app.registers(asked.until), &name).await?;
    Ok(axum::Json(Pool::from(&pool)))
}

/// The pool of this name.
pub(super) async fn defined(registers: &Registers, name: &str) -> Result<Definition, Problem> {
    let found = directory::look_up(registers, name).await?;
    found.ok_or_else(|| no_such_pool(name))
}

fn no_such_pool(name: &str) -> Problem {
    Problem::new(Kind::NO_SUCH_POOL, format!("got {name:?}"))
}

/// How full a pool is
#[utoipa::path(
    get, path = "/v1/pools/{pool}/usage", tag = "pools", params(("pool" = String, Path)),
    responses(
        (status = 200, body = Usage),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn usage(
    State(app): State<App>,
    asked: Asked,
    Path(name): Path<String>,
) -> Result<axum::Json<Usage>, Problem> {
    let registers = app.registers(asked.until);
    let pool = defined(&registers, &name).await?;
    let tree = pool.tree;
    let held = drive::value(&registers, &tree, Ask::Get(tree.root())).await?;
    let held = held.map_or(0, |root| root.total());
    let size = tree.size();
    Ok(axum::Json(Usage { pool: name, size, held, free: size - held }))
}

/// Delete a pool of which no id is held
#[utoipa::path(
    delete, path = "/v1/pools/{pool}", tag = "pools",
    params(
        ("pool" = String, Path),
        ("Cloakroom-Operation" = Option<String>, Header, pattern = "^[0-9a-fA-F]{32}$"),
        ("Cloakroom-Bound" = Option<u64>, Header),
        ("Cloakroom-Again" = Option<bool>, Header),
    ),
    responses(
        (status = 200, body = Pool),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 428, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(app): State<App>,
    asked: Asked,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let registers = app.registers(asked.until);
    let work = |_, doubt: Option<Doubt>| async move {
        let removed = removed(&registers, &name, doubt).await;
        let removed = removed.map_err(|problem| problem.after(doubt))?;
        Ok(Answer::json(StatusCode::OK, &Pool::from(&removed)))
    };
    Ok(asked.once(&app, &[], work).await)
}

async fn removed(
    registers: &Registers,
    name: &str,
    doubt: Option<Doubt>,
) -> Result<Definition, Problem> {
    let found = directory::look_up(registers, name).await?;
    let pool = match doubt {
        None => found.ok_or_else(|| no_such_pool(name))?,
        // REST-1: only the pool that the earlier attempt was to remove.
        Some(doubt) => found.filter(|pool| doubt == bound_to(pool)).ok_or_else(|| {
            let detail = "the pool is not there any more: this deletion or another has removed it";
            Problem::unknown(detail, None)
        })?,
    };
    let (held, cause) = drive::walk(registers, &pool.tree, List::new(pool.tree)).await;
    // Nothing is written yet.
    let held = held.map_err(|_| Problem::new(Kind::UNAVAILABLE, known(cause)))?;
    if let Some((id, _)) = held.first() {
        let detail = format!("expected that no id is held, got {}, the first {id}", held.len());
        return Err(Problem::new(Kind::POOL_IN_USE, detail));
    }
    directory::remove(registers, &pool).await.map_err(|refusal| refused(refusal, name))?;
    Ok(pool)
}

/// A machine stops for want of a map only after the map gave an error.
pub(crate) fn known(cause: Option<MapError>) -> MapError {
    cause.expect("a machine is interrupted only by an error of the map")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_write_of_a_page_in_doubt_binds_to_the_pools_number_and_a_number_in_doubt_is_no_pool() {
        let lost = || MapError::Unknown { cause: "lost".into() };
        let written = refused(Refusal::Doubted { number: 7, cause: lost() }, "p");
        assert!(written.is_unknown());
        assert_eq!(written.bound(), Some(Version(7)));
        assert!(refused(Refusal::Map(lost()), "p").is_undone());
    }
}
