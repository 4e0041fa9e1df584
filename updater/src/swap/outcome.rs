//! How an update ends, and the forms in which that is told: a word in events and documents,
//! an exit code of helper and command. Both are promises to scripts.

use serde::{Deserialize, Serialize};

/// How an update ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The new version has taken over.
    Updated,
    /// The old version is back as it was.
    RolledBack,
    /// Nothing was touched.
    Refused {
        /// Why, for people.
        reason: String,
    },
    /// Neither version can be brought up without a person.
    NeedsAPerson {
        /// What is the matter and what to do, for people.
        reason: String,
    },
}

/// How an update ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The new version serves.
    Updated,
    /// The old version is back.
    RolledBack,
    /// Nothing was touched.
    Refused,
    /// Neither could be brought up without a person.
    NeedsAPerson,
}

impl Outcome {
    /// Without its reason.
    pub fn ending(&self) -> Ending {
        match self {
            Outcome::Updated => Ending::Updated,
            Outcome::RolledBack => Ending::RolledBack,
            Outcome::Refused { .. } => Ending::Refused,
            Outcome::NeedsAPerson { .. } => Ending::NeedsAPerson,
        }
    }
}

impl Ending {
    const ALL: [Ending; 4] =
        [Ending::Updated, Ending::RolledBack, Ending::Refused, Ending::NeedsAPerson];

    /// The word, as events and documents write it.
    pub const fn word(self) -> &'static str {
        match self {
            Ending::Updated => "updated",
            Ending::RolledBack => "rolled-back",
            Ending::Refused => "refused",
            Ending::NeedsAPerson => "needs-a-person",
        }
    }

    /// The ending of this word.
    pub fn of_word(word: &str) -> Option<Ending> {
        Ending::ALL.into_iter().find(|ending| ending.word() == word)
    }

    /// The exit code of the helper and of whoever follows it.
    pub const fn code(self) -> u8 {
        match self {
            Ending::Updated => 0,
            Ending::RolledBack => 20,
            Ending::Refused => 21,
            Ending::NeedsAPerson => 30,
        }
    }

    /// The ending of this exit code.
    pub fn of_code(code: i64) -> Option<Ending> {
        Ending::ALL.into_iter().find(|ending| i64::from(ending.code()) == code)
    }

    /// With a reason, where it has one.
    pub fn with(self, reason: String) -> Outcome {
        match self {
            Ending::Updated => Outcome::Updated,
            Ending::RolledBack => Outcome::RolledBack,
            Ending::Refused => Outcome::Refused { reason },
            Ending::NeedsAPerson => Outcome::NeedsAPerson { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_is_known_by_its_word_and_by_its_code() {
        for ending in Ending::ALL {
            assert_eq!(Ending::of_word(ending.word()), Some(ending));
            assert_eq!(Ending::of_code(ending.code().into()), Some(ending));
            assert_eq!(ending.with("because".into()).ending(), ending);
            assert_eq!(serde_json::json!(ending), ending.word(), "documents say the same word");
        }
        assert_eq!((Ending::of_word("untouched"), Ending::of_code(137)), (None, None));
    }
}
