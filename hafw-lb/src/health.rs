//! The rise and fall of what is probed.

/// How one probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Ok,
    /// Refused by the other side: nobody serves there.
    Refused,
    /// No answer in time, or no way there. Says nothing of the other side: in a flood, for
    /// instance, it is the probes that are lost.
    TimedOut,
    /// An answer, and not the right one.
    Bad,
}

/// What is thought of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was heard of it yet.
    Unknown,
    /// It serves.
    Up,
    /// It does not.
    Down(Cause),
}

/// Why a target is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// All probes since it was up timed out: it may serve, and only the probes be lost. New flows
    /// go elsewhere, and nothing is done to those that it has.
    TimedOut,
    /// It refused, or gave a wrong answer.
    Failed,
}

/// One target's rise/fall machine. The first outcome decides at once, as keepalived's scripts do;
/// after that `rise` good ones in a row are needed to go up and `fall` others to go down.
#[derive(Clone, Debug)]
pub struct Health {
    rise: u32,
    fall: u32,
    state: State,
    /// Outcomes in a row that speak against `state`.
    against: u32,
    /// Whether all of those timed out.
    only_timeouts: bool,
}

impl Health {
    /// `rise` and `fall` are at least 1 (0 counts as 1). `initial`: what a former controller
    /// found, or [`State::Unknown`].
    #[must_use]
    pub fn new(rise: u32, fall: u32, initial: State) -> Self {
        Self {
            rise,
            fall,
            state: initial,
            against: 0,
            only_timeouts: true,
        }
    }

    /// What is thought of the target now.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Takes an outcome in; returns the new state where it changed. A target that is down by
    /// timeouts alone and then fails otherwise changes to [`Cause::Failed`] at once.
    pub fn observe(&mut self, outcome: Outcome) -> Option<State> {
        let cause = match outcome {
            Outcome::Ok => None,
            Outcome::TimedOut => Some(Cause::TimedOut),
            Outcome::Refused | Outcome::Bad => Some(Cause::Failed),
        };
        match (self.state, cause) {
            (State::Unknown, None) => self.change(State::Up),
            (State::Unknown, Some(cause)) => self.change(State::Down(cause)),
            (State::Up, None) | (State::Down(Cause::Failed), Some(_)) => self.confirm(),
            (State::Up, Some(cause)) => {
                self.only_timeouts &= cause == Cause::TimedOut;
                let cause = if self.only_timeouts {
                    Cause::TimedOut
                } else {
                    Cause::Failed
                };
                self.contradict(self.fall, State::Down(cause))
            }
            (State::Down(Cause::TimedOut), Some(Cause::TimedOut)) => self.confirm(),
            (State::Down(Cause::TimedOut), Some(Cause::Failed)) => {
                self.change(State::Down(Cause::Failed))
            }
            (State::Down(_), None) => self.contradict(self.rise, State::Up),
        }
    }

    fn confirm(&mut self) -> Option<State> {
        self.against = 0;
        self.only_timeouts = true;
        None
    }

    fn contradict(&mut self, needed: u32, state: State) -> Option<State> {
        self.against += 1;
        if self.against < needed {
            None
        } else {
            self.change(state)
        }
    }

    fn change(&mut self, state: State) -> Option<State> {
        self.confirm();
        self.state = state;
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: State = State::Down(Cause::Failed);
    const TIMED_OUT: State = State::Down(Cause::TimedOut);

    /// The changes that a string of outcomes makes: o(k), r(efused), t(imed out), b(ad).
    fn changes(health: &mut Health, outcomes: &str) -> Vec<Option<State>> {
        let outcome = |letter| match letter {
            'o' => Outcome::Ok,
            'r' => Outcome::Refused,
            't' => Outcome::TimedOut,
            _ => Outcome::Bad,
        };
        outcomes
            .chars()
            .map(|letter| health.observe(outcome(letter)))
            .collect()
    }

    #[test]
    fn the_first_outcome_decides_at_once() {
        for (outcome, state) in [
            (Outcome::Ok, State::Up),
            (Outcome::Refused, FAILED),
            (Outcome::Bad, FAILED),
            (Outcome::TimedOut, TIMED_OUT),
        ] {
            let mut health = Health::new(3, 3, State::Unknown);
            assert_eq!(health.observe(outcome), Some(state));
            assert_eq!(health.state(), state);
        }
    }

    #[test]
    fn it_falls_after_as_many_failures_in_a_row() {
        let mut health = Health::new(1, 3, State::Up);
        let down = Some(FAILED);
        assert_eq!(
            changes(&mut health, "rrorrr"),
            [None, None, None, None, None, down]
        );
    }

    #[test]
    fn it_rises_after_as_many_successes_in_a_row() {
        let mut health = Health::new(2, 1, FAILED);
        assert_eq!(changes(&mut health, "orobo"), [None; 5]);
        assert_eq!(changes(&mut health, "o"), [Some(State::Up)]);
    }

    #[test]
    fn one_refusal_among_the_timeouts_makes_it_a_failure() {
        for (outcomes, state) in [
            ("ttt", TIMED_OUT),
            ("rtt", FAILED),
            ("trt", FAILED),
            ("ttr", FAILED),
        ] {
            let mut health = Health::new(1, 3, State::Up);
            assert_eq!(
                changes(&mut health, outcomes),
                [None, None, Some(state)],
                "{outcomes}"
            );
        }
    }

    #[test]
    fn a_refusal_before_it_recovered_does_not_count() {
        let mut health = Health::new(1, 2, State::Up);
        assert_eq!(
            changes(&mut health, "rott"),
            [None, None, None, Some(TIMED_OUT)]
        );
    }

    #[test]
    fn a_refusal_turns_down_by_timeouts_into_failed_and_a_timeout_turns_nothing_back() {
        let mut health = Health::new(2, 2, TIMED_OUT);
        assert_eq!(
            changes(&mut health, "totrt"),
            [None, None, None, Some(FAILED), None]
        );
    }

    #[test]
    fn rise_and_fall_of_zero_count_as_one() {
        let mut health = Health::new(0, 0, State::Up);
        assert_eq!(changes(&mut health, "ro"), [Some(FAILED), Some(State::Up)]);
    }
}
