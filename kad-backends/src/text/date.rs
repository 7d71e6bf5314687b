//! The current date for chat templates that write it into the prompt.

use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use jiff::tz::TimeZone;
use jiff::{Error, Timestamp};

/// Now, or the second in `SOURCE_DATE_EPOCH`, which makes prompts reproducible.
pub(super) fn now() -> Timestamp {
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse::<u32>().ok());
    let fixed = fixed.and_then(|second| Timestamp::from_second(second.into()).ok());
    fixed.unwrap_or_else(Timestamp::now)
}

/// Python's `strftime` in UTC and the locale `C`; unknown directives stay in the text.
pub(super) fn strftime(time: Timestamp, format: &str) -> Result<String, Error> {
    let config = Config::new().custom(PosixCustom::new()).lenient(true);
    let fields = BrokenDownTime::from(&time.to_zoned_datetime(TimeZone::UTC));
    fields.to_string_with_config(&config, format)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, format: &str) -> String {
        strftime(Timestamp::from_second(second).unwrap(), format).unwrap()
    }

    #[test]
    fn known_moments() {
        // GNU date -u -d @N '+%A %d %b %Y %H:%M:%S'
        for (second, wanted) in [
            (0, "Thursday 01 Jan 1970 00:00:00"),
            (951_782_399, "Monday 28 Feb 2000 23:59:59"),
            (951_782_400, "Tuesday 29 Feb 2000 00:00:00"),
            (1_735_689_599, "Tuesday 31 Dec 2024 23:59:59"),
            (-1, "Wednesday 31 Dec 1969 23:59:59"),
        ] {
            assert_eq!(at(second, "%A %d %b %Y %H:%M:%S"), wanted);
        }
    }

    #[test]
    fn directives_of_python_are_known_and_others_stay() {
        assert_eq!(at(0, "100%% %y-%m %B %a %E %"), "100% 70-01 January Thu %E %");
        // date -u -d @0 '+%-d %e %I %p %j %c %x %X'
        let wanted = "1  1 12 AM 001 Thu Jan  1 00:00:00 1970 01/01/70 00:00:00";
        assert_eq!(at(0, "%-d %e %I %p %j %c %x %X"), wanted);
    }
}
