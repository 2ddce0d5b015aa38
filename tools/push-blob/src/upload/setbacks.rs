// SPDX-License-Identifier: Apache-2.0
//! Where an upload continues after a refusal, and how often.
//!
//! ```text
//! refusal             continues in                                              how often
//! the session is gone Ended, or EndedAtClose if it was being closed
//! out of order        Unanswered; then Unopened, with one piece                 twice; then always
//! too large           Unanswered, with smaller parts                            to the smallest
//! another digest      Unopened                                                  once
//! not understood      Unopened, with parts instead of one piece or the reverse  once
//! any other           the same state, after a wait                              --retry-times
//! ```
//!
//! If any other failure is repeated without progress, the way of sending changes too: parts instead
//! of one piece; or, if the empty closing request fails, `EndedAtClose` with one piece.

use common::error::Result;
use net::failure::{Failure, Retry};

use super::plan::{CHUNK, Plan, SMALL_CHUNK, spend};
use super::refused::{Refused, Why};
use super::rereadable::Rereadable;
use super::states::{State, Upload};

impl Upload<'_> {
    /// Decides where the upload continues after a refusal. A failure that is returned is to be
    /// waited for first.
    ///
    /// # Errors
    /// The refusal's when it is final; the source's when its bytes changed.
    pub(super) fn adapt(
        &mut self,
        refused: Refused,
        source: &mut dyn Rereadable,
    ) -> Result<Option<Failure>> {
        let Refused { why, mut failure } = refused;
        if self.push.size == 0 {
            failure = failure.context("the empty blob, which some registries do not take");
        }
        match why {
            Why::Gone => self.session_is_gone(),
            Why::OutOfOrder => {
                self.offset_is_unknown();
                if !spend(&mut self.budget.disorders) {
                    self.begin_anew(Plan::Whole);
                }
            }
            Why::TooLarge => {
                self.offset_is_unknown();
                let sent = match self.plan {
                    Plan::Whole => self.push.size,
                    Plan::Parts(part) => part.min(self.push.size),
                };
                self.plan = match sent {
                    _ if sent > CHUNK => Plan::Parts(CHUNK),
                    _ if sent > SMALL_CHUNK => Plan::Parts(SMALL_CHUNK),
                    _ => {
                        let hint = "a proxy may limit it: --chunk SIZE sends smaller parts";
                        return Err(failure.error.hint(hint));
                    }
                };
            }
            Why::Invalid => {
                source.check_unchanged()?;
                if !spend(&mut self.budget.digests) {
                    return Err(failure.error);
                }
                self.begin_anew(self.plan);
            }
            Why::Unsupported => {
                if !spend(&mut self.budget.switches) {
                    return Err(failure.error);
                }
                self.begin_anew(match self.plan {
                    Plan::Whole => Plan::Parts(u64::MAX),
                    Plan::Parts(_) => Plan::Whole,
                });
            }
            Why::Failed => {
                if self.stalled && failure.retry != Retry::Never {
                    self.change_plan();
                }
                return Ok(Some(failure));
            }
        }
        Ok(None)
    }

    fn session_is_gone(&mut self) {
        let is_closing = matches!(self.state, State::Unconfirmed(_) | State::EndedAtClose);
        let next = if is_closing { State::EndedAtClose } else { State::Ended };
        if let Some(session) = std::mem::replace(&mut self.state, next).into_session() {
            self.uploads.leave(&session);
        }
    }

    /// The registry must be asked how far the session is.
    fn offset_is_unknown(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Ready(session) | State::Unconfirmed(session) => {
                State::Unanswered { session, reach: self.push.size }
            }
            other => other,
        };
    }

    /// Failures in a row without progress: tries the other way of sending, where it may help.
    fn change_plan(&mut self) {
        match (self.plan, &self.state) {
            // A proxy's limit may show as nothing but a connection that ends.
            (Plan::Whole, _) if self.push.size > CHUNK => self.plan = Plan::Parts(CHUNK),
            // Some registries fail on a closing request without bytes.
            (Plan::Parts(_), State::Unconfirmed(_) | State::EndedAtClose) => {
                self.begin_anew(Plan::Whole);
                self.state = State::EndedAtClose;
            }
            _ => {}
        }
    }

    /// Gives the session up, and opens another one with this plan.
    fn begin_anew(&mut self, plan: Plan) {
        if let Some(session) = std::mem::replace(&mut self.state, State::Unopened).into_session() {
            self.uploads.cancel(&session);
        }
        self.plan = plan;
    }
}
