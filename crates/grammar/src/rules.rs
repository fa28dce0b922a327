//! Writes the rules of a grammar in the parser's form.

use std::collections::HashMap;

use llguidance::api::{GenGrammarOptions, GrammarId, GrammarInit, SkipSpec};
use llguidance::derivre::{ExprRef, RegexAst};
use llguidance::earley::lexerspec::{LexemeClass, LexerSpec};
use llguidance::earley::{Grammar, SymIdx, SymbolProps};

use crate::limits::MAX_SYMBOLS;

/// A symbol of a grammar.
pub(crate) type Symbol = SymIdx;

/// The grammar exceeds a limit, or the compiler does not accept it.
#[derive(Debug)]
pub(crate) struct GrammarError(pub(crate) String);

impl<E: std::fmt::Display> From<E> for GrammarError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// A grammar under construction.
pub(crate) struct Rules {
    grammar: Grammar,
    lexer: LexerSpec,
    class: LexemeClass,
    start: Symbol,
    /// The existing lexemes, by their expression.
    lexemes: HashMap<(LexemeClass, ExprRef), Symbol>,
    /// The number of symbols in all rules.
    size: usize,
}

impl Rules {
    /// Creates a grammar without rules. `skip` may appear between lexemes.
    pub(crate) fn new(skip: RegexAst) -> Result<Self, GrammarError> {
        let mut lexer = LexerSpec::new()?;
        let class = lexer.setup_lexeme_class_with_skip(SkipSpec::once(skip))?;
        let mut grammar = Grammar::new(None);
        let start = grammar.fresh_symbol_ext("start", start_props(class));
        Ok(Self { grammar, lexer, class, start, lexemes: HashMap::new(), size: 0 })
    }

    /// Creates a symbol whose rules follow.
    pub(crate) fn symbol(&mut self) -> Symbol {
        let props = SymbolProps { grammar_id: self.class, ..SymbolProps::default() };
        self.grammar.fresh_symbol_ext("", props)
    }

    /// Adds a rule for a symbol.
    pub(crate) fn rule(&mut self, symbol: Symbol, parts: Vec<Symbol>) -> Result<(), GrammarError> {
        self.size += 1 + parts.len();
        if self.size > MAX_SYMBOLS {
            let problem = format!("its grammar has more than {MAX_SYMBOLS} symbols");
            return Err(GrammarError(problem));
        }
        Ok(self.grammar.add_rule(symbol, parts)?)
    }

    /// Returns a symbol for these parts in sequence.
    pub(crate) fn sequence(&mut self, parts: Vec<Symbol>) -> Result<Symbol, GrammarError> {
        if let [one] = parts[..] {
            return Ok(one);
        }
        let symbol = self.symbol();
        self.rule(symbol, parts)?;
        Ok(symbol)
    }

    /// Returns a symbol for any of these options.
    pub(crate) fn one_of(&mut self, options: Vec<Symbol>) -> Result<Symbol, GrammarError> {
        if let [one] = options[..] {
            return Ok(one);
        }
        let symbol = self.symbol();
        for option in options {
            self.rule(symbol, vec![option])?;
        }
        Ok(symbol)
    }

    /// Returns a symbol for `least` to `most` repetitions.
    pub(crate) fn repeat(
        &mut self,
        one: Symbol,
        least: usize,
        most: Option<usize>,
    ) -> Result<Symbol, GrammarError> {
        let mut parts = self.exactly(one, least)?;
        match most {
            None => {
                let more = self.symbol();
                self.rule(more, vec![])?;
                self.rule(more, vec![more, one])?;
                parts.push(more);
            }
            Some(most) => parts.extend(self.at_most(one, most.saturating_sub(least))?),
        }
        self.sequence(parts)
    }

    /// Returns symbols for exactly `count` repetitions, with few rules.
    fn exactly(&mut self, one: Symbol, count: usize) -> Result<Vec<Symbol>, GrammarError> {
        let (mut parts, mut one, mut count) = (Vec::new(), one, count);
        while count > 0 {
            if count % 2 == 1 {
                parts.push(one);
            }
            count /= 2;
            if count > 0 {
                one = self.sequence(vec![one, one])?;
            }
        }
        Ok(parts)
    }

    /// Returns a symbol for at most `most` repetitions, with few rules and without ambiguity.
    fn at_most(&mut self, one: Symbol, most: usize) -> Result<Option<Symbol>, GrammarError> {
        if most == 0 {
            return Ok(None);
        }
        let optional = self.symbol();
        self.rule(optional, vec![])?;
        if most <= 8 {
            let rest = self.at_most(one, most - 1)?;
            self.rule(optional, [one].into_iter().chain(rest).collect())?;
            return Ok(Some(optional));
        }
        // For 2h + 1: up to h pairs, then at most one. For 2h: that for h - 1, or h pairs.
        let pair = self.sequence(vec![one, one])?;
        let half = most / 2;
        let last = self.symbol();
        self.rule(last, vec![])?;
        self.rule(last, vec![one])?;
        let pairs = self.at_most(pair, if most % 2 == 1 { half } else { half - 1 })?;
        let odd: Vec<Symbol> = pairs.into_iter().chain([last]).collect();
        if most % 2 == 1 {
            return Ok(Some(self.sequence(odd)?));
        }
        let all = self.exactly(pair, half)?;
        let symbol = self.symbol();
        self.rule(symbol, odd)?;
        self.rule(symbol, all)?;
        Ok(Some(symbol))
    }

    /// Returns a symbol for texts that an expression matches as a whole.
    pub(crate) fn lexeme(&mut self, expression: &RegexAst) -> Result<Symbol, GrammarError> {
        let compiled = self.lexer.regex_builder.mk(expression)?;
        if let Some(known) = self.lexemes.get(&(self.class, compiled)) {
            return Ok(*known);
        }
        let ast = RegexAst::ExprRef(compiled);
        let lexeme = self.lexer.add_greedy_lexeme(String::new(), ast, false, None, usize::MAX)?;
        let symbol = self.symbol();
        self.size += 1;
        self.grammar.make_terminal(symbol, lexeme, &self.lexer)?;
        self.lexemes.insert((self.class, compiled), symbol);
        Ok(symbol)
    }

    /// Returns a symbol for this text.
    pub(crate) fn text(&mut self, text: &str) -> Result<Symbol, GrammarError> {
        self.lexeme(&RegexAst::Literal(text.to_owned()))
    }

    /// Returns a symbol for a nested grammar, in which `skip` may appear between lexemes. `write` writes its
    /// rules and returns its root.
    pub(crate) fn inner<E: From<GrammarError>>(
        &mut self,
        skip: RegexAst,
        write: impl FnOnce(&mut Self) -> Result<Symbol, E>,
    ) -> Result<Symbol, E> {
        let outer = self.symbol();
        let grammar = GrammarId::Name("inner".to_owned());
        let options = GenGrammarOptions { grammar, temperature: None };
        let class = self.class;
        self.grammar.make_gen_grammar(outer, options).map_err(GrammarError::from)?;
        let skip = SkipSpec::once(skip);
        self.class = self.lexer.setup_lexeme_class_with_skip(skip).map_err(GrammarError::from)?;
        let start = self.grammar.fresh_symbol_ext("inner", start_props(self.class));
        let root = write(self)?;
        self.rule(start, vec![root])?;
        (self.class, self.lexer.current_class) = (class, class);
        self.grammar.link_gen_grammar(outer, start).map_err(GrammarError::from)?;
        Ok(outer)
    }

    /// Returns the grammar in the parser's form.
    pub(crate) fn finish(mut self, root: Symbol) -> Result<GrammarInit, GrammarError> {
        let start = self.start;
        self.rule(start, vec![root])?;
        Ok(GrammarInit::Internal(self.grammar, self.lexer))
    }
}

fn start_props(class: LexemeClass) -> SymbolProps {
    SymbolProps { grammar_id: class, is_start: true, ..SymbolProps::default() }
}
