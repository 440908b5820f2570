//! What can be wrong with an option.

use super::options::OPTIONS;
use core::fmt;

/// What is wrong with one word of the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// No such option.
    Unknown,
    /// It needs `=value`; says what the value may be.
    MissingValue(&'static str),
    /// It takes no value.
    UnexpectedValue,
    /// The value is none of what is allowed, which this says.
    BadValue(&'static str),
    /// The option was given before.
    Duplicate,
}

/// A word of the command line that was not accepted. Prints as one line that names the option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionError<'a> {
    /// The word as the user wrote it.
    pub word: &'a [u8],
    /// What is wrong with it.
    pub mistake: Mistake,
}

impl OptionError<'_> {
    /// Most of a word that is printed.
    const SHOWN: usize = 64;
}

impl fmt::Display for OptionError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.word.get(..Self::SHOWN);
        let (word, dots) = shown.map_or((self.word, ""), |shown| (shown, "..."));
        write!(f, "option \"{}{dots}\": ", word.escape_ascii())?;
        match self.mistake {
            Mistake::Unknown => {
                f.write_str("unknown; known are")?;
                OPTIONS.iter().enumerate().try_for_each(|(index, option)| {
                    write!(f, "{} {}", if index == 0 { "" } else { "," }, option.name)
                })
            }
            Mistake::MissingValue(value) => write!(f, "needs a value: {value}"),
            Mistake::UnexpectedValue => f.write_str("takes no value"),
            Mistake::BadValue(value) => write!(f, "bad value, expected {value}"),
            Mistake::Duplicate => f.write_str("given twice"),
        }
    }
}
