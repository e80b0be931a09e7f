//! Writes values as MessagePack.

use rmp::encode;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant,
};
use serde::{Serialize, Serializer};

use super::error::{Error, Result, fault};

/// Writes one value.
///
/// # Errors
/// Where a list or map has more elements than MessagePack can count, or the value itself says that it cannot be written.
pub(crate) fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    let mut writer = Writer { bytes: Vec::new() };
    value.serialize(&mut writer)?;
    Ok(writer.bytes)
}

struct Writer {
    bytes: Vec<u8>,
}

/// The encoders of rmp fail where their output does, which memory never does.
fn written<T, E>(result: std::result::Result<T, E>) -> Result<()> {
    result.map(drop).map_err(|_| fault("memory cannot be written"))
}

/// The length of a text, a list or a map.
fn length(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| fault("a value is too long"))
}

impl Writer {
    fn signed(&mut self, value: i64) -> Result<()> {
        written(encode::write_sint(&mut self.bytes, value))
    }

    fn unsigned(&mut self, value: u64) -> Result<()> {
        written(encode::write_uint(&mut self.bytes, value))
    }

    fn text(&mut self, text: &str) -> Result<()> {
        written(encode::write_str_len(&mut self.bytes, length(text.len())?))?;
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn list(&mut self, count: usize) -> Result<()> {
        written(encode::write_array_len(&mut self.bytes, length(count)?))
    }

    fn map(&mut self, count: usize) -> Result<()> {
        written(encode::write_map_len(&mut self.bytes, length(count)?))
    }

    /// What stands before the content of a variant.
    fn variant(&mut self, name: &str) -> Result<()> {
        self.map(1)?;
        self.text(name)
    }
}

/// Writes the length of a list, or of a map.
type WriteLength = fn(&mut Writer, usize) -> Result<()>;

/// A list or map whose length was not said: its elements are counted, and the count is put before them.
struct Items<'a> {
    writer: &'a mut Writer,
    /// Where it begins, and what its length is written by, unless that is done.
    unsaid: Option<(usize, WriteLength)>,
    count: usize,
}

impl<'a> Items<'a> {
    fn begin(writer: &'a mut Writer, count: Option<usize>, write: WriteLength) -> Result<Self> {
        let unsaid = match count {
            Some(count) => write(writer, count).map(|()| None)?,
            None => Some((writer.bytes.len(), write)),
        };
        Ok(Self { writer, unsaid, count: 0 })
    }

    fn finish(self) -> Result<()> {
        let Some((start, write)) = self.unsaid else { return Ok(()) };
        let elements = self.writer.bytes.split_off(start);
        write(self.writer, self.count)?;
        self.writer.bytes.extend(elements);
        Ok(())
    }
}

impl SerializeSeq for Items<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.count += 1;
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<()> {
        self.finish()
    }
}

impl SerializeMap for Items<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.count += 1;
        key.serialize(&mut *self.writer)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<()> {
        self.finish()
    }
}

/// What has a known number of values, which follow each other.
macro_rules! write_values {
    ($($kind:ident: $method:ident,)*) => {
        $(
        impl $kind for &mut Writer {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<()> {
                Ok(())
            }
        })*
    };
}

write_values! {
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

/// What has a known number of values with names.
macro_rules! write_fields {
    ($($kind:ident,)*) => {
        $(
        impl $kind for &mut Writer {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
                self.text(name)?;
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<()> {
                Ok(())
            }
        })*
    };
}

write_fields! {
    SerializeStruct,
    SerializeStructVariant,
}

macro_rules! write_numbers {
    ($($method:ident: $type:ty => $write:ident,)*) => {
        $(
        fn $method(self, value: $type) -> Result<()> {
            self.$write(value.into())
        })*
    };
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Items<'a>;
    type SerializeMap = Items<'a>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    write_numbers! {
        serialize_i8: i8 => signed,
        serialize_i16: i16 => signed,
        serialize_i32: i32 => signed,
        serialize_i64: i64 => signed,
        serialize_u8: u8 => unsigned,
        serialize_u16: u16 => unsigned,
        serialize_u32: u32 => unsigned,
        serialize_u64: u64 => unsigned,
    }

    fn serialize_bool(self, value: bool) -> Result<()> {
        written(encode::write_bool(&mut self.bytes, value))
    }

    fn serialize_f32(self, value: f32) -> Result<()> {
        written(encode::write_f32(&mut self.bytes, value))
    }

    fn serialize_f64(self, value: f64) -> Result<()> {
        written(encode::write_f64(&mut self.bytes, value))
    }

    fn serialize_char(self, value: char) -> Result<()> {
        self.text(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<()> {
        self.text(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        written(encode::write_bin_len(&mut self.bytes, length(value.len())?))?;
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<()> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        written(encode::write_nil(&mut self.bytes))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        self.list(0)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<()> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        self.variant(variant)?;
        value.serialize(self)
    }

    fn serialize_seq(self, count: Option<usize>) -> Result<Items<'a>> {
        Items::begin(self, count, Writer::list)
    }

    fn serialize_tuple(self, count: usize) -> Result<Self> {
        self.list(count).map(|()| self)
    }

    fn serialize_tuple_struct(self, _: &'static str, count: usize) -> Result<Self> {
        self.list(count).map(|()| self)
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, variant: &'static str, count: usize) -> Result<Self> {
        self.variant(variant)?;
        self.list(count).map(|()| self)
    }

    fn serialize_map(self, count: Option<usize>) -> Result<Items<'a>> {
        Items::begin(self, count, Writer::map)
    }

    fn serialize_struct(self, _: &'static str, count: usize) -> Result<Self> {
        self.map(count).map(|()| self)
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, variant: &'static str, count: usize) -> Result<Self> {
        self.variant(variant)?;
        self.map(count).map(|()| self)
    }
}
