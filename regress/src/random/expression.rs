//! Expressions as trees.

use super::values::{Type, quoted};

/// An expression of SQL.
#[derive(Clone, Debug)]
pub enum Expression {
    /// A column, or anything else that stays as it is.
    Atom(Type, String),
    /// A literal, which may become a parameter; `None` is NULL.
    Literal(Type, Option<String>),
    /// `text` with each `§` replaced by the arguments.
    Node(Type, String, Vec<Expression>),
}

/// Where literals go that are written as parameters.
pub type Parameters = Vec<String>;

impl Expression {
    /// Its type.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Atom(t, _) | Self::Literal(t, _) | Self::Node(t, _, _) => *t,
        }
    }

    /// Writes it to `sql`, literals as `$n` if there is a list for them.
    pub fn write(&self, sql: &mut String, parameters: &mut Option<Parameters>) {
        match self {
            Self::Atom(_, text) => sql.push_str(text),
            Self::Literal(t, value) => {
                let value = value.as_deref().map_or("NULL".to_owned(), quoted);
                let literal = format!("{value}::{}", t.name());
                match parameters {
                    None => sql.push_str(&literal),
                    Some(list) => {
                        list.push(literal);
                        sql.push_str(&format!("${}::{}", list.len(), t.name()));
                    }
                }
            }
            Self::Node(_, text, arguments) => {
                let mut arguments = arguments.iter();
                for character in text.chars() {
                    match (character, arguments.len()) {
                        ('§', 1..) => {
                            if let Some(argument) = arguments.next() {
                                argument.write(sql, parameters);
                            }
                        }
                        _ => sql.push(character),
                    }
                }
            }
        }
    }

    /// Its text, with its literals.
    pub fn text(&self) -> String {
        let mut sql = String::new();
        self.write(&mut sql, &mut None);
        sql
    }

    /// Simpler ones of the same type, the simplest first.
    pub fn shrunk(&self) -> Vec<Expression> {
        let Self::Node(own, text, arguments) = self else { return Vec::new() };
        let mut all = Vec::new();
        if *own == Type::Bool {
            all.push(Self::Literal(*own, Some("t".to_owned())));
            all.push(Self::Literal(*own, Some("f".to_owned())));
        }
        all.extend(arguments.iter().filter(|a| a.type_of() == *own).cloned());
        for (i, argument) in arguments.iter().enumerate() {
            for smaller in argument.shrunk() {
                let mut arguments = arguments.clone();
                arguments[i] = smaller;
                all.push(Self::Node(*own, text.clone(), arguments));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_take_their_places_and_literals_become_parameters() {
        let one = Expression::Literal(Type::Int, Some("1".to_owned()));
        let column = Expression::Atom(Type::Int, "a.c".to_owned());
        let node = Expression::Node(Type::Bool, "(§ < §)".to_owned(), vec![column, one]);
        let (mut text, mut prepared) = (String::new(), String::new());
        node.write(&mut text, &mut None);
        assert_eq!(text, "(a.c < '1'::int)");
        let mut parameters = Some(Vec::new());
        node.write(&mut prepared, &mut parameters);
        assert_eq!(prepared, "(a.c < $1::int)");
        assert_eq!(parameters, Some(vec!["'1'::int".to_owned()]));
    }
}
