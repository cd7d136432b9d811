//! Taking out what the reader of hafw.toml refuses, until it takes the rest.

use std::path::Path;

use super::{
    Draft, Entry, Objection, Section, Value,
    render::{Target, render},
};
use crate::place::{Mistake, Mistakes, Place, Remark};

impl Draft {
    /// The text that `reader` has no objection to, and what there is to say of it. What it refuses
    /// is turned into comments, with the reason: a list's item alone, a key alone unless it is
    /// essential, else its section. What only lacks something that was taken out before goes the
    /// same way.
    ///
    /// # Errors
    /// An objection that is of no part of the text, after what was taken out before.
    pub(crate) fn settle(
        mut self,
        head: &str,
        reader: &dyn Fn(&str) -> Vec<Objection>,
    ) -> Result<(String, Vec<Remark>), Mistakes> {
        loop {
            let rendered = render(&self, head);
            let mut objections = reader(&rendered.text);
            if objections.is_empty() {
                return Ok((rendered.text, self.remarks));
            }
            // The others may be consequences.
            if objections.iter().any(|objection| objection.unsupported) {
                objections.retain(|objection| objection.unsupported);
            }
            let mut changed = false;
            for objection in &objections {
                let line = objection.line.and_then(|line| line.checked_sub(1));
                let target = line.and_then(|line| rendered.lines.get(line)?.clone());
                if let Some(target) = target {
                    changed |= self.take_out(&target, &objection.message);
                }
            }
            if !changed {
                let left_out = self.remarks.into_iter().map(|remark| Mistake {
                    place: Some(remark.place),
                    message: remark.message,
                });
                let refused = objections.into_iter().map(|objection| Mistake {
                    place: None,
                    message: format!("what remains is refused: {}", objection.message),
                });
                return Err(Mistakes(left_out.chain(refused).collect()));
            }
        }
    }

    /// Whether anything was taken out.
    fn take_out(&mut self, target: &Target, reason: &str) -> bool {
        let Self { sections, remarks } = self;
        let mut at: Option<&mut Section> = None;
        for index in &target.section {
            let here = match at {
                None => sections.get_mut(*index),
                Some(section) => section.parts.get_mut(*index),
            };
            match here {
                Some(section) if section.out.is_none() => at = Some(section),
                Some(_) | None => return false,
            }
        }
        let Some(section) = at else {
            return false;
        };
        let Some((place, what)) = section.take_out(target.entry, target.item, reason) else {
            return false;
        };
        let message = format!("{reason}; {what}");
        let place = place.unwrap_or_else(|| Place {
            file: Path::new("hafw.toml").into(),
            line: 1,
            column: 1,
        });
        remarks.push(Remark { place, message });
        true
    }
}

impl Section {
    /// Where what was taken out came from, and what was done. None where nothing was.
    fn take_out(
        &mut self,
        entry: Option<usize>,
        item: Option<usize>,
        reason: &str,
    ) -> Option<(Option<Place>, String)> {
        let whole = format!("the {} is left out", self.header);
        let Some(entry) = entry else {
            self.out = Some(reason.to_owned());
            return Some((self.origin.clone(), whole));
        };
        let key = match self.entries.get_mut(entry)? {
            Entry::Key(key) if key.out.is_none() => key,
            Entry::Key(_) | Entry::Note(_) => return None,
        };
        if let (Value::List(items), Some(item)) = (&mut key.value, item) {
            let others = items.iter().filter(|item| item.out.is_none()).count() > 1;
            let item = items.get_mut(item)?;
            if item.out.is_some() {
                return None;
            }
            if others {
                item.out = Some(reason.to_owned());
                return Some((Some(item.origin.clone()), "it is left out".to_owned()));
            }
        }
        let origin = key.origin.clone();
        if let Some((value, what)) = key.fallbacks.pop() {
            key.value = Value::One(value);
            return Some((origin, what));
        }
        if key.essential {
            self.out = Some(reason.to_owned());
            return Some((origin, whole));
        }
        key.out = Some(reason.to_owned());
        Some((origin, format!("{} is left out", key.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: usize) -> Place {
        Place {
            file: Path::new("in").into(),
            line,
            column: 1,
        }
    }

    fn draft() -> Draft {
        let mut section = Section::new("[[service]]", Some(&place(1)), "virtual_server");
        section.key("mode", "\"nat\"", Some(&place(2))).essential();
        section.key("weight", 7, Some(&place(3)));
        section
            .key("health", "1", Some(&place(4)))
            .or("2", "two instead")
            .or("3", "three instead");
        let items = vec![
            ("\"a\"".to_owned(), place(5)),
            ("\"b\"".to_owned(), place(6)),
        ];
        section.list("vips", items);
        Draft {
            sections: vec![section],
            remarks: Vec::new(),
        }
    }

    /// Objects to every line that holds one of the words, unless it is a comment.
    fn refusing<'a>(words: &'a [&'a str]) -> impl Fn(&str) -> Vec<Objection> + 'a {
        move |text| {
            let lines = text.lines().enumerate().filter(|(_, line)| {
                let line = line.split('#').next().unwrap_or_default();
                words.iter().any(|word| line.contains(word))
            });
            lines
                .map(|(index, _)| Objection {
                    line: Some(index + 1),
                    message: "no".to_owned(),
                    unsupported: true,
                })
                .collect()
        }
    }

    fn settled(words: &[&str]) -> (String, Vec<String>) {
        let (text, remarks) = draft().settle("head", &refusing(words)).unwrap();
        (text, remarks.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_refused_key_becomes_a_comment() {
        let (text, remarks) = settled(&["weight"]);

        assert!(
            text.contains("# Left out: no\n# weight = 7  (in:3)\n"),
            "{text}"
        );
        assert_eq!(remarks, ["in:3:1: warning: no; weight is left out"]);
    }

    #[test]
    fn a_refused_essential_key_takes_its_section_along() {
        let (text, remarks) = settled(&["mode"]);

        let live = text
            .lines()
            .find(|line| !line.is_empty() && !line.starts_with('#'));
        assert_eq!(live, None);
        assert_eq!(
            remarks,
            ["in:2:1: warning: no; the [[service]] is left out"]
        );
    }

    #[test]
    fn a_refused_value_gives_way_to_its_fallbacks_in_order() {
        let (text, remarks) = settled(&["health = 1", "health = 2"]);

        assert!(text.contains("\nhealth = 3  # in:4\n"), "{text}");
        let [two, three] = remarks.as_slice() else {
            panic!("{remarks:?}");
        };
        assert!(two.ends_with("two instead") && three.ends_with("three instead"));
    }

    #[test]
    fn a_list_loses_its_refused_items_and_with_the_last_one_itself() {
        let (text, _) = settled(&["\"b\""]);
        assert!(
            text.contains("    \"a\",  # in:5\n    # \"b\": left out: no  # in:6\n"),
            "{text}"
        );

        let (text, _) = settled(&["\"a\"", "\"b\""]);
        assert!(text.contains("\n# vips = ["), "{text}");
    }

    #[test]
    fn what_is_of_no_line_is_a_mistake() {
        let objecting = |_: &str| {
            vec![Objection {
                line: None,
                message: "no".to_owned(),
                unsupported: false,
            }]
        };

        let mistakes = draft().settle("", &objecting).unwrap_err();

        assert_eq!(mistakes.to_string(), "what remains is refused: no");
    }
}
