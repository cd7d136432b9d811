//! What a probe found out.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::Station;

/// An answer that takes longer counts as part of a gap: a client would have noticed.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// One probe and what became of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was sent.
    pub sent: Instant,
    /// How long the answer took.
    pub answered: Option<Duration>,
    /// Who answered.
    pub by: Option<Station>,
    /// How many answers came.
    pub copies: u32,
    /// What went wrong, in the system's words; empty where there was just no answer.
    pub error: String,
}

impl Sample {
    pub(super) fn new(sent: Instant) -> Self {
        Self {
            sent,
            answered: None,
            by: None,
            copies: 0,
            error: String::new(),
        }
    }

    fn in_time(&self) -> bool {
        self.answered.is_some_and(|time| time <= PATIENCE)
    }
}

/// A span in which nothing was answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the first probe was sent that got no answer in time.
    pub from: Instant,
    /// From then until the first one that did, or to the end of the measurement.
    pub length: Duration,
}

/// All probes of a measurement, in the order in which they were sent.
#[derive(Clone, Debug)]
pub struct Report {
    /// The probes.
    pub samples: Vec<Sample>,
    /// Answers that came after the answer to a later probe.
    pub reordered: usize,
    /// When it was stopped.
    pub end: Instant,
}

impl Report {
    /// Probes that were never answered.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.samples
            .iter()
            .filter(|sample| sample.answered.is_none())
            .count()
    }

    /// Probes that were answered, but not in time.
    #[must_use]
    pub fn late(&self) -> usize {
        self.samples
            .iter()
            .filter(|sample| sample.answered.is_some() && !sample.in_time())
            .count()
    }

    /// Answers beyond the first to a probe.
    #[must_use]
    pub fn duplicated(&self) -> u32 {
        self.samples
            .iter()
            .map(|sample| sample.copies.saturating_sub(1))
            .sum()
    }

    /// Spans in which nothing was answered in time, in order.
    #[must_use]
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut open: Option<Instant> = None;
        for sample in &self.samples {
            match (open, sample.in_time()) {
                (None, false) => open = Some(sample.sent),
                (Some(from), true) => {
                    gaps.push(Gap {
                        from,
                        length: sample.sent - from,
                    });
                    open = None;
                }
                (None, true) | (Some(_), false) => {}
            }
        }
        gaps.extend(open.map(|from| Gap {
            from,
            length: self.end - from,
        }));
        gaps
    }

    /// The longest gap; zero without one.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        self.gaps()
            .into_iter()
            .map(|gap| gap.length)
            .max()
            .unwrap_or_default()
    }

    /// What was sent within a span of the measurement.
    #[must_use]
    pub fn within(&self, from: Instant, to: Instant) -> Self {
        let samples = self
            .samples
            .iter()
            .filter(|sample| (from..to).contains(&sample.sent));
        Self {
            samples: samples.cloned().collect(),
            reordered: self.reordered,
            end: to.min(self.end),
        }
    }

    /// How many probes each host answered.
    #[must_use]
    pub fn shares(&self) -> BTreeMap<Station, usize> {
        let mut shares = BTreeMap::new();
        for by in self.samples.iter().filter_map(|sample| sample.by) {
            *shares.entry(by).or_default() += 1;
        }
        shares
    }

    /// What went wrong and how often.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<&str, usize> {
        let mut errors = BTreeMap::new();
        for sample in self
            .samples
            .iter()
            .filter(|sample| !sample.error.is_empty())
        {
            *errors.entry(sample.error.as_str()).or_default() += 1;
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(answers: &[Option<u64>]) -> Report {
        let start = Instant::now();
        let at = |index: usize| start + Duration::from_millis(index as u64);
        let samples = answers.iter().enumerate().map(|(index, answer)| Sample {
            answered: answer.map(Duration::from_millis),
            ..Sample::new(at(index))
        });
        Report {
            samples: samples.collect(),
            reordered: 0,
            end: at(answers.len()),
        }
    }

    #[test]
    fn a_gap_runs_from_the_first_unanswered_probe_to_the_next_answered_one() {
        let report = report(&[Some(0), None, None, None, Some(0), Some(0)]);

        let [gap] = report.gaps()[..] else {
            panic!("one gap: {:?}", report.gaps())
        };
        assert_eq!(gap.length, Duration::from_millis(3));
        assert_eq!(report.lost(), 3);
    }

    #[test]
    fn a_late_answer_is_in_a_gap_but_not_lost() {
        let report = report(&[Some(0), Some(60), Some(0)]);

        assert_eq!(
            (report.lost(), report.late(), report.gaps().len()),
            (0, 1, 1)
        );
    }

    #[test]
    fn a_gap_that_never_ends_lasts_to_the_end() {
        let report = report(&[Some(0), None, None]);

        assert_eq!(report.longest_gap(), Duration::from_millis(2));
    }

    #[test]
    fn a_gap_that_was_over_before_the_span_does_not_count() {
        let report = report(&[None, Some(0), Some(0), Some(0)]);

        let later = report.within(report.samples[2].sent, report.end);
        assert_eq!(
            (later.samples.len(), later.longest_gap()),
            (2, Duration::ZERO)
        );
    }
}
