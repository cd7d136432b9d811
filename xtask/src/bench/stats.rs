//! Medians and tables.

use std::{fmt, time::Duration};

/// Values of repeated runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Series(Vec<f64>);

impl Series {
    pub(super) fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    pub(super) fn push_ms(&mut self, span: Duration) {
        self.push(span.as_secs_f64() * 1e3);
    }

    fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 {
            self.0[middle]
        } else {
            f64::midpoint(self.0[middle - 1], self.0[middle])
        }
    }
}

/// `median (min-max)`; just the value where all are equal.
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(min), Some(max)) = (self.0.first(), self.0.last()) else {
            return f.pad("-");
        };
        let number = |value: f64| {
            if value == 0.0 || value >= 100.0 {
                format!("{value:.0}")
            } else {
                format!("{value:.1}")
            }
        };
        let median = number(self.median());
        if number(*min) == number(*max) {
            return f.pad(&median);
        }
        f.pad(&format!("{median} ({}-{})", number(*min), number(*max)))
    }
}

/// Prints rows under their headings, as a Markdown table.
pub(super) fn print_table(headings: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain([headings[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
    };
    line(headings.to_vec());
    let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
    line(rules.iter().map(String::as_str).collect());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        let mut series = Series::default();
        values.iter().for_each(|value| series.push(*value));
        series
    }

    #[test]
    fn a_series_shows_its_median_and_range() {
        assert_eq!(series(&[3.0, 1.0, 250.4]).to_string(), "3.0 (1.0-250)");
        assert_eq!(series(&[4.0, 1.0]).to_string(), "2.5 (1.0-4.0)");
    }

    #[test]
    fn equal_values_have_no_range() {
        assert_eq!(series(&[0.0, 0.0]).to_string(), "0");
        assert_eq!(series(&[]).to_string(), "-");
    }
}
