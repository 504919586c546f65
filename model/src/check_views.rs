//! `check_views`: from one view of a slot to the next.
//!
//! In two parts, each over the real code, and each exhaustive within its bounds:
//! * [`decree`]: the members of a view decide the next one, with competing proposals: REG-1;
//! * [`handover`]: members of decided views pull, seal, merge, activate and retire, while members of
//!   every view go on voting for whatever arrives: REG-2 to REG-4, REG-6, REG-12, REG-13.
//!
//! The third part, what happens within a view that begins in any way that REG-4 allows, is
//! [`check_register`](crate::check_register). Why the parts make the whole is in `specs/register.md`.

pub mod decree;
pub mod handover;
mod symmetry;
