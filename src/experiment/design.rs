//! `[design]` and `[fixed]`: toggles, their levels, and the time.

use super::wire::{Scalar, Wire, WireDesign};
use super::{Error, Source, Treatment, check_name};
use crate::toggle::{Levels, Toggle};
use serde::{Deserialize, Serialize};
use toml::Spanned;

/// `[design] kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Design {
    LeaveOneOut,
    AddOneIn,
    Ladder,
    /// The same toggles in the reverse order.
    LadderReverse,
    /// Every combination of the toggles.
    Factorial,
    /// Half of them or fewer, with main effects and pairs apart.
    Fraction,
    /// Main effects of many toggles in 24 arms.
    Screening,
    /// Every level of each toggle, all others on.
    Sweep,
    /// Treatments that the experiment spells out.
    Explicit,
}

impl Design {
    /// True where the effects are contrasts over all of its combinations.
    pub fn is_of_combinations(self) -> bool {
        matches!(self, Design::Factorial | Design::Fraction | Design::Screening)
    }

    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            Design::LeaveOneOut => "leave-one-out",
            Design::AddOneIn => "add-one-in",
            Design::Ladder => "ladder",
            Design::LadderReverse => "ladder-reverse",
            Design::Factorial => "factorial",
            Design::Fraction => "fraction",
            Design::Screening => "screening",
            Design::Sweep => "sweep",
            Design::Explicit => "explicit",
        }
    }
}

/// The toggles of `toggles` and those of `beside`, each with its *on* level.
pub type Listed = (Vec<(Toggle, u32)>, Vec<(Toggle, u32)>);

/// The listed toggles with their *on* level.
pub fn toggles(source: &Source<'_>, wire: &WireDesign) -> Result<Listed, Error> {
    let mut listed: Vec<(Toggle, u32)> = Vec::new();
    for item in wire.toggles.iter().chain(&wire.beside) {
        let toggle = source.read("[design] toggles", item, |k| Toggle::parse(k))?;
        if listed.iter().any(|(t, _)| *t == toggle) {
            return Err(source.fail(item.span(), format!("[design] toggles and beside: {} is listed twice", toggle.key())));
        }
        listed.push((toggle, toggle.spec().on));
    }
    for (key, value) in &wire.on {
        let toggle = source.read("[design] on", key, |k| Toggle::parse(k))?;
        let level = source.level(toggle, value)?;
        let place = listed.iter_mut().find(|(t, _)| *t == toggle);
        match place {
            None => return Err(source.fail(key.span(), format!("[design] on: {} is not among the toggles", toggle.key()))),
            Some(_) if level == toggle.spec().off => {
                return Err(source.fail(value.span(), format!("[design] on: {} is its off level", toggle.key())));
            }
            Some(place) => place.1 = level,
        }
    }
    let beside = listed.split_off(wire.toggles.len());
    if let (Some(item), true) = (wire.beside.first(), listed.is_empty()) {
        return Err(source.fail(item.span(), "[design] beside needs toggles that make a full to stand beside"));
    }
    Ok((listed, beside))
}

/// The levels that a sweep takes.
pub fn sweep(source: &Source<'_>, wire: &WireDesign, listed: &[(Toggle, u32)]) -> Result<Vec<(Toggle, Vec<u32>)>, Error> {
    let mut sweep = Vec::new();
    for (key, levels) in &wire.levels {
        let toggle = source.read("[design] levels", key, |k| Toggle::parse(k))?;
        if listed.iter().all(|(t, _)| *t != toggle) {
            return Err(source.fail(key.span(), format!("[design] levels: {} is not among the toggles", toggle.key())));
        }
        sweep.push((toggle, source.list("[design] levels", levels, |text| toggle.spec().parse_level(text))?));
    }
    if wire.kind.contains(&Design::Sweep) == sweep.is_empty() {
        let message = "[design] kind = \"sweep\" and levels go together, for example levels = { batch_submit = [1, 4, 16, 64] }";
        let place = wire.levels.keys().next().or(wire.toggles.first()).map_or(0..0, Spanned::span);
        return Err(source.fail(place, message));
    }
    Ok(sweep)
}

/// The treatments that are spelt out.
pub fn treatments(source: &Source<'_>, wire: &WireDesign) -> Result<Vec<Treatment>, Error> {
    let mut treatments = Vec::new();
    for (name, levels) in &wire.treatments {
        let read = |(key, value): (&Spanned<String>, &Spanned<Scalar>)| {
            let toggle = source.read("[design] treatments", key, |k| Toggle::parse(k))?;
            Ok((toggle, source.level(toggle, value)?))
        };
        let name = source.read("[design] treatments", name, |n| check_name(n))?;
        treatments.push((name, levels.iter().map(read).collect::<Result<_, _>>()?));
    }
    if wire.kind.contains(&Design::Explicit) == treatments.is_empty() {
        let message =
            "[design] kind = \"explicit\" and treatments go together, for example treatments.small = { batch_submit = 8 }";
        let place = wire.treatments.keys().next().or(wire.toggles.first()).map_or(0..0, Spanned::span);
        return Err(source.fail(place, message));
    }
    Ok(treatments)
}

/// Levels of what is not listed.
pub fn fixed(source: &Source<'_>, wire: &Wire) -> Result<Levels, Error> {
    let mut levels = Levels::all_off();
    for (key, value) in &wire.fixed {
        let toggle = source.read("[fixed]", key, |k| Toggle::parse(k))?;
        if wire.design.toggles.iter().any(|t| t.get_ref() == toggle.key()) {
            return Err(source.fail(key.span(), format!("[fixed] {} is also among the toggles", toggle.key())));
        }
        levels = levels.with(toggle, source.level(toggle, value)?);
    }
    Ok(levels)
}
