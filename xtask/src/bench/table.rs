//! The tables that `bench` prints, and what it leaves for programs.

use serde::Serialize;

use super::figures::Figures;
use super::peers::{Goal, ROWS, Row};

/// What may cost the parent at most how many times as much as the bare machine.
const GOALS: [(&str, f64); 3] = [("cpu_loop", 1.005), ("fork_exec", 1.05), ("boot_to_init", 1.25)];

/// A line of the parent's table: instructions per operation.
#[derive(Serialize)]
pub struct ParentLine {
    name: String,
    bare: f64,
    zemin: Option<f64>,
    ratio: Option<f64>,
    goal: Option<f64>,
}

/// A line of the children's table, in instructions or bytes.
#[derive(Serialize)]
pub struct ChildLine {
    name: &'static str,
    metal: Option<f64>,
    child: Option<f64>,
    goal: Option<f64>,
    #[serde(skip)]
    row: &'static Row,
}

/// The parent beside the bare machine.
pub fn compare_parent(bare: &Figures, zemin: Option<&Figures>) -> Vec<ParentLine> {
    let line = |(name, bare): (&str, f64)| {
        let zemin = zemin.and_then(|zemin| zemin.get(name));
        let goal = GOALS.iter().find(|(other, _)| *other == name).map(|(_, goal)| *goal);
        ParentLine {
            ratio: zemin.map(|zemin| zemin / bare),
            name: name.to_owned(),
            bare,
            zemin,
            goal,
        }
    };
    bare.iter().map(line).collect()
}

/// A child beside the bare machine.
pub fn compare_children(metal: &Figures, children: &Figures) -> Vec<ChildLine> {
    let line = |row: &'static Row| {
        let metal = metal.get(row.metal);
        let goal = match row.goal {
            Goal::AtMost(most) => Some(most),
            Goal::Ratio(ratio) => metal.map(|metal| metal * ratio),
            Goal::Adds(more) => metal.map(|metal| metal + more),
            Goal::None => None,
        };
        ChildLine { name: row.child, metal, child: children.get(row.child), goal, row }
    };
    ROWS.iter().map(line).collect()
}

/// Whether a goal is missed.
pub trait Misses {
    /// The figure's name, if it misses its goal.
    fn missed(&self) -> Option<&str>;
}

impl Misses for ParentLine {
    fn missed(&self) -> Option<&str> {
        let misses = matches!((self.ratio, self.goal), (Some(ratio), Some(goal)) if ratio > goal);
        misses.then_some(self.name.as_str())
    }
}

impl Misses for ChildLine {
    fn missed(&self) -> Option<&str> {
        let misses = matches!((self.child, self.goal), (Some(child), Some(goal)) if child > goal);
        misses.then_some(self.name)
    }
}

/// The parent's table.
pub fn parent_table(lines: &[ParentLine]) -> String {
    let mut text = format!(
        "{:18}{:>16}{:>16}{:>9}  goal\n",
        "instructions for", "bare machine", "Zemin's parent", "ratio"
    );
    for line in lines {
        let zemin = line.zemin.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let ratio = line.ratio.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        let goal = line.goal.map_or_else(String::new, |goal| format!("<= {goal}"));
        push(
            &mut text,
            &format!("{:18}{:>16.2}{zemin:>16}{ratio:>9}  {goal}", line.name, line.bare),
            line,
        );
    }
    text
}

/// The children's table.
pub fn child_table(lines: &[ChildLine]) -> String {
    let mut text = format!(
        "{:50}{:>14}{:>14}{:>14}  |{:>12}{:>12}{:>14}\n",
        "a child: instructions for", "bare machine", "Zemin", "goal", "(metal)", "KVM", "Xen"
    );
    for line in lines {
        let row = line.row;
        let cell = |value: Option<f64>| number(value.map(|value| value / row.unit));
        let child = if line.child.is_none() { "not measured".to_owned() } else { cell(line.child) };
        let peers = row.peers.map(|peer| cell(peer.map(|peer| in_units(peer, row))));
        let [metal, kvm, xen] = peers;
        let own =
            format!("{:50}{:>14}{child:>14}{:>14}", row.title, cell(line.metal), cell(line.goal));
        push(&mut text, &format!("{own}  |{metal:>12}{kvm:>12}{xen:>14}"), line);
    }
    text + "Beside the line: the others, measured once on the same emulated machine with programs of their own.\n"
}

/// The others' figures are noted in the table's unit.
fn in_units(peer: f64, row: &Row) -> f64 {
    peer * row.unit
}

fn push(text: &mut String, line: &str, what: &dyn Misses) {
    text.push_str(line.trim_end());
    if what.missed().is_some() {
        text.push_str(" MISSED");
    }
    text.push('\n');
}

/// With as many digits as tell something.
pub fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() < 100.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(text: &str) -> Figures {
        Figures::parse(text).expect("figures")
    }

    #[test]
    fn parents_missed_goal_is_marked() {
        let bare = figures("bench cpu_loop 12 1\nbench cpuid 35 1\n");
        let zemin = figures("bench cpu_loop 13 1\nbench cpuid 700 1\n");
        let lines = compare_parent(&bare, Some(&zemin));
        let text = parent_table(&lines);
        let line = |number: usize| text.lines().nth(number).expect("a line");
        assert!(line(1).ends_with("1.0833  <= 1.005 MISSED"), "{text}");
        assert!(line(2).ends_with("20.0000"), "{text}");
    }

    #[test]
    fn childs_goal_is_for_the_ratio_where_it_is_near_metal() {
        let metal = figures("bench cpu_loop 24 1\n");
        let lines = compare_children(&metal, &figures("bench cpu_loop 24.05 1\n"));
        let line = lines.iter().find(|line| line.name == "cpu_loop").expect("a line");
        assert_eq!(line.missed(), None, "{:?}", line.goal);
        let lines = compare_children(&metal, &figures("bench cpu_loop 24.5 1\n"));
        assert!(lines.iter().any(|line| line.missed() == Some("cpu_loop")));
    }

    #[test]
    fn what_was_not_measured_is_said_and_misses_nothing() {
        let metal = figures("bench getppid 375 1\n");
        let lines = compare_children(&metal, &metal);
        let text = child_table(&lines);
        let line = |title: &str| text.lines().find(|line| line.starts_with(title)).expect("a line");
        assert!(line("CPUID, exit").contains("not measured"), "{text}");
        assert!(line("getppid").contains("375"), "{text}");
        assert!(lines.iter().all(|line| line.missed().is_none()));
    }

    #[test]
    fn others_figures_stand_in_the_tables_unit() {
        let figures = figures("bench linux_taken 2097152 1\n");
        let text = child_table(&compare_children(&figures, &figures));
        let line = text.lines().find(|line| line.starts_with("taken from")).expect("a line");
        let words: Vec<_> = line.split_whitespace().rev().take(7).collect();
        assert_eq!(words, ["5.00", "49.00", "-", "|", "5.00", "2.00", "-"], "{text}");
    }
}
