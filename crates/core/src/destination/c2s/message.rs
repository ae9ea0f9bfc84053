//! The message that a seller reads at the lead in Contact2Sale. In Portuguese, as the sellers are.

use super::LegalBasis;
use super::replies::ALLOWED;
use crate::contact::Cpf;
use crate::delivery::KeptReply;

/// The text, a line for each thing that is known.
pub(super) fn text(cpf: &Cpf, source: &str, known: &KeptReply, basis: LegalBasis) -> String {
    let mut lines = vec![
        "Dados do lead, pelo Funil".to_owned(),
        format!("CPF: {} ({source})", cpf.formatted()),
    ];
    for (name, label, _) in ALLOWED {
        if let Some(value) = known.field(name) {
            lines.push(format!("{label}: {value}"));
        }
    }
    if lines.len() == 2 {
        lines.push("A Work API não disse nada sobre este CPF.".to_owned());
    }
    let day = known.at.strftime("%d/%m/%Y");
    lines.push(format!("Consulta de {day} (UTC); base legal: {}.", basis.in_portuguese()));
    lines.join("\n")
}
