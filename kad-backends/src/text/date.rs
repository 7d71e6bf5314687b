//! Today's date, for chat templates that write it into the prompt.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    days: i64,
    second_of_day: i64,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// The first of January 1970 was a Thursday.
const WEEKDAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// Now, or the second that `SOURCE_DATE_EPOCH` gives, so that prompts can be made again.
pub(crate) fn today() -> Moment {
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse::<u32>().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    Moment::at(fixed.map_or_else(now, i64::from))
}

impl Moment {
    fn at(seconds: i64) -> Self {
        const DAY: i64 = 86_400;
        Self { days: seconds.div_euclid(DAY), second_of_day: seconds.rem_euclid(DAY) }
    }

    /// Year, month from 1, day from 1.
    fn date(self) -> (i64, usize, i64) {
        let (mut year, mut days) = (1970, self.days);
        while days < 0 {
            year -= 1;
            days += year_len(year);
        }
        while days >= year_len(year) {
            days -= year_len(year);
            year += 1;
        }
        let mut month = 1;
        while days >= month_len(year, month) {
            days -= month_len(year, month);
            month += 1;
        }
        (year, month, days + 1)
    }

    /// `strftime` for the fields that occur in templates; others are left as they stand.
    pub(crate) fn format(self, format: &str) -> String {
        let (year, month, day) = self.date();
        let weekday = WEEKDAYS[self.days.rem_euclid(7) as usize];
        let name = MONTHS[month - 1];
        let seconds = self.second_of_day;
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('d') => out += &format!("{day:02}"),
                Some('m') => out += &format!("{month:02}"),
                Some('Y') => out += &year.to_string(),
                Some('y') => out += &format!("{:02}", year.rem_euclid(100)),
                Some('B') => out += name,
                Some('b') => out += &name[..3],
                Some('A') => out += weekday,
                Some('a') => out += &weekday[..3],
                Some('H') => out += &format!("{:02}", seconds / 3600),
                Some('M') => out += &format!("{:02}", seconds / 60 % 60),
                Some('S') => out += &format!("{:02}", seconds % 60),
                Some('%') | None => out.push('%'),
                Some(other) => out.extend(['%', other]),
            }
        }
        out
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn year_len(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn month_len(year: i64, month: usize) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn known_moments() {
        // GNU date -u -d @N '+%A %d %b %Y %H:%M:%S'
        for (seconds, wanted) in [
            (0, "Thursday 01 Jan 1970 00:00:00"),
            (951_782_399, "Monday 28 Feb 2000 23:59:59"),
            (951_782_400, "Tuesday 29 Feb 2000 00:00:00"),
            (1_735_689_599, "Tuesday 31 Dec 2024 23:59:59"),
            (-1, "Wednesday 31 Dec 1969 23:59:59"),
        ] {
            assert_eq!(Moment::at(seconds).format("%A %d %b %Y %H:%M:%S"), wanted);
        }
        assert_eq!(Moment::at(0).format("100%% %y-%m %B %a %Q %"), "100% 70-01 January Thu %Q %");
    }
}
