//! Reads MessagePack strictly, as the types expect it.

use std::fmt;

use rmp::Marker;
use rmp::decode;
use serde::de::{DeserializeOwned, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

use super::error::{Error, Result, fault};

/// Values may contain values this deep.
const MAX_DEPTH: u16 = 256;

/// Reads one value, and nothing may follow it.
pub(crate) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut rest = bytes;
    let value = from_front(&mut rest)?;
    if rest.is_empty() { Ok(value) } else { Err(fault("something follows the value")) }
}

/// Reads one value from the front of these bytes, which then begin after it.
pub(crate) fn from_front<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T> {
    let mut reader = Reader { rest: bytes, depth: 0 };
    let value = T::deserialize(&mut reader)?;
    *bytes = reader.rest;
    Ok(value)
}

#[cold]
fn unexpected(expected: &str, error: &dyn fmt::Display) -> Error {
    fault(&format!("expected {expected}: {error}"))
}

struct Reader<'de> {
    rest: &'de [u8],
    depth: u16,
}

impl<'de> Reader<'de> {
    fn marker(&self) -> Result<Marker> {
        self.rest.first().map(|byte| Marker::from_u8(*byte)).ok_or_else(|| fault("the end is missing"))
    }

    fn unsigned(&mut self) -> Result<u64> {
        decode::read_int(&mut self.rest).map_err(|error| unexpected("a number", &error))
    }

    fn signed(&mut self) -> Result<i64> {
        decode::read_int(&mut self.rest).map_err(|error| unexpected("a number", &error))
    }

    fn float(&mut self) -> Result<f64> {
        decode::read_f64(&mut self.rest).map_err(|error| unexpected("a number", &error))
    }

    fn short_float(&mut self) -> Result<f32> {
        decode::read_f32(&mut self.rest).map_err(|error| unexpected("a number", &error))
    }

    fn boolean(&mut self) -> Result<bool> {
        decode::read_bool(&mut self.rest).map_err(|error| unexpected("true or false", &error))
    }

    fn nil(&mut self) -> Result<()> {
        decode::read_nil(&mut self.rest).map_err(|error| unexpected("nothing", &error))
    }

    fn list(&mut self) -> Result<u32> {
        decode::read_array_len(&mut self.rest).map_err(|error| unexpected("a list", &error))
    }

    fn map(&mut self) -> Result<u32> {
        decode::read_map_len(&mut self.rest).map_err(|error| unexpected("a map", &error))
    }

    fn text(&mut self) -> Result<&'de str> {
        let length = decode::read_str_len(&mut self.rest).map_err(|error| unexpected("a text", &error))?;
        std::str::from_utf8(self.take(length)?).map_err(|error| unexpected("a text", &error))
    }

    fn binary(&mut self) -> Result<&'de [u8]> {
        let length = decode::read_bin_len(&mut self.rest).map_err(|error| unexpected("bytes", &error))?;
        self.take(length)
    }

    fn take(&mut self, length: u32) -> Result<&'de [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length as usize).ok_or_else(|| fault("the end is missing"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Enters a list or a map.
    fn enter(&mut self, count: u32) -> Result<Items<'_, 'de>> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(fault("it is nested too deeply"));
        }
        Ok(Items { reader: self, left: count })
    }
}

/// The elements of a list, or the entries of a map.
struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: u32,
}

impl Items<'_, '_> {
    fn next(&mut self) -> bool {
        let more = self.left > 0;
        self.left -= u32::from(more);
        more
    }

    /// Leaves the list or map, of which nothing may be left.
    fn leave(self) -> Result<()> {
        self.reader.depth -= 1;
        if self.left == 0 { Ok(()) } else { Err(fault("a list or map has too many elements")) }
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.next() { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left as usize)
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left as usize)
    }
}

/// An enum: the name of a variant, and its content where it has one.
struct Variant<'a, 'de> {
    reader: &'a mut Reader<'de>,
    has_content: bool,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let name = seed.deserialize(&mut *self.reader)?;
        Ok((name, self))
    }
}

impl<'a, 'de> Variant<'a, 'de> {
    fn content(self) -> Result<&'a mut Reader<'de>> {
        if self.has_content { Ok(self.reader) } else { Err(fault("the content of a variant is missing")) }
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        if self.has_content { Err(fault("a variant has a content that it should not have")) } else { Ok(()) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.content()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value> {
        self.content()?.deserialize_map(visitor)
    }
}

macro_rules! read_numbers {
    ($($method:ident: $read:ident => $visit:ident,)*) => {
        $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(self.$read()?)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    read_numbers! {
        deserialize_bool: boolean => visit_bool,
        deserialize_i8: signed => visit_i64,
        deserialize_i16: signed => visit_i64,
        deserialize_i32: signed => visit_i64,
        deserialize_i64: signed => visit_i64,
        deserialize_u8: unsigned => visit_u64,
        deserialize_u16: unsigned => visit_u64,
        deserialize_u32: unsigned => visit_u64,
        deserialize_u64: unsigned => visit_u64,
        deserialize_f32: short_float => visit_f32,
        deserialize_f64: float => visit_f64,
        deserialize_char: text => visit_borrowed_str,
        deserialize_str: text => visit_borrowed_str,
        deserialize_string: text => visit_borrowed_str,
        deserialize_identifier: text => visit_borrowed_str,
        deserialize_bytes: binary => visit_borrowed_bytes,
        deserialize_byte_buf: binary => visit_borrowed_bytes,
    }

    /// For values of any type, as serde_json's.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.marker()? {
            Marker::Null => self.deserialize_unit(visitor),
            Marker::True | Marker::False => self.deserialize_bool(visitor),
            Marker::FixPos(_) | Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => self.deserialize_u64(visitor),
            Marker::FixNeg(_) | Marker::I8 | Marker::I16 | Marker::I32 | Marker::I64 => self.deserialize_i64(visitor),
            Marker::F32 => self.deserialize_f32(visitor),
            Marker::F64 => self.deserialize_f64(visitor),
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => self.deserialize_str(visitor),
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => self.deserialize_bytes(visitor),
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => self.deserialize_seq(visitor),
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => self.deserialize_map(visitor),
            other => Err(fault(&format!("a value of the kind {other:?} is not expected"))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.marker()? == Marker::Null {
            self.nil()?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.nil()?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        match self.list()? {
            0 => visitor.visit_unit(),
            _ => Err(fault("a list has too many elements")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let count = self.list()?;
        let mut items = self.enter(count)?;
        let value = visitor.visit_seq(&mut items)?;
        items.leave()?;
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, _: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let count = self.map()?;
        let mut items = self.enter(count)?;
        let value = visitor.visit_map(&mut items)?;
        items.leave()?;
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let has_content = matches!(self.marker()?, Marker::FixMap(1));
        if has_content {
            self.map()?;
        }
        visitor.visit_enum(Variant { reader: self, has_content })
    }

    forward_to_deserialize_any! { i128 u128 ignored_any }
}
