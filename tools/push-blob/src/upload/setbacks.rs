// SPDX-License-Identifier: Apache-2.0
//! The next state of an upload after each kind of refusal, and the limit on its repetitions.
//!
//! ```text
//! refusal              next state                                              limit
//! session gone         Ended, or EndedAtClose if it was being closed           open sessions
//! out of order         Unanswered                                              twice
//! out of order again   Unopened, and the blob is sent in one request           open sessions
//! body too large       Unanswered, and smaller parts are sent                  smallest part
//! another digest       Unopened                                                once
//! way not supported    Unopened, and parts become one request, or vice versa   once
//! any other            the same state, after a wait                            --retry-times
//! ```
//!
//! "Open sessions" is [`MAX_SESSIONS`](super::plan::MAX_SESSIONS) for one blob. "Smallest part" is
//! [`SMALL_CHUNK`].
//!
//! If any other failure is repeated without progress, the way of sending changes. One request
//! becomes parts. If the empty closing request fails, parts become one request, and the next state
//! is `EndedAtClose`.

use common::error::Result;
use net::failure::{Failure, Retry};

use super::plan::{CHUNK, Plan, SMALL_CHUNK, spend};
use super::refused::{Refused, Why};
use super::rereadable::Rereadable;
use super::states::{State, Upload};

impl Upload<'_> {
    /// Decides where the upload continues after a refusal. If a failure is returned, the caller
    /// must wait (backoff) before the next attempt.
    ///
    /// # Errors
    /// The refusal's error if it is final; the source's error if its bytes changed.
    pub(super) fn adapt(
        &mut self,
        refused: Refused,
        source: &mut dyn Rereadable,
    ) -> Result<Option<Failure>> {
        let Refused { why, mut failure } = refused;
        if self.push.size == 0 {
            failure = failure.context("the empty blob, which some registries do not accept");
        }
        match why {
            Why::Gone => self.session_is_gone(),
            Why::OutOfOrder => {
                self.offset_is_unknown();
                if !spend(&mut self.budget.disorders) {
                    self.start_over(Plan::Whole);
                }
            }
            Why::TooLarge => {
                self.offset_is_unknown();
                let sent = match self.plan {
                    Plan::Whole => self.push.size,
                    Plan::Parts(part) => part.min(self.push.size),
                };
                self.plan = if sent > CHUNK {
                    Plan::Parts(CHUNK)
                } else if sent > SMALL_CHUNK {
                    Plan::Parts(SMALL_CHUNK)
                } else {
                    let hint = "a proxy may limit the size of a request: \
                                --chunk SIZE sends smaller parts";
                    return Err(failure.error.hint(hint));
                };
            }
            Why::Invalid => {
                source.check_unchanged()?;
                if !spend(&mut self.budget.digests) {
                    return Err(failure.error);
                }
                self.start_over(self.plan);
            }
            Why::Unsupported => {
                if !spend(&mut self.budget.switches) {
                    return Err(failure.error);
                }
                self.start_over(match self.plan {
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

    /// Sets the state in which the session's offset is requested again.
    fn offset_is_unknown(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Ready(session) | State::Unconfirmed(session) => {
                State::Unanswered { session, reach: self.push.size }
            }
            other => other,
        };
    }

    /// Changes the way of sending after two failures without progress, if that may help.
    fn change_plan(&mut self) {
        match (self.plan, &self.state) {
            // If a proxy limits the size of a body, the only sign may be a closed connection.
            (Plan::Whole, _) if self.push.size > CHUNK => self.plan = Plan::Parts(CHUNK),
            // Some registries fail if the closing request has no body.
            (Plan::Parts(_), State::Unconfirmed(_) | State::EndedAtClose) => {
                self.start_over(Plan::Whole);
                self.state = State::EndedAtClose;
            }
            _ => {}
        }
    }

    /// Cancels the session. Another session is opened, with this plan.
    fn start_over(&mut self, plan: Plan) {
        if let Some(session) = std::mem::replace(&mut self.state, State::Unopened).into_session() {
            self.uploads.cancel(&session);
        }
        self.plan = plan;
    }
}
