"""The part of Caffe's published schema (caffe.proto) that its weight files use, for the package protobuf."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
TYPES = {"int64": Field.TYPE_INT64, "int32": Field.TYPE_INT32, "float": Field.TYPE_FLOAT, "double": Field.TYPE_DOUBLE}
TYPES |= {"string": Field.TYPE_STRING}
SCHEMA = """
BlobShape: dim repeated int64 1
BlobProto: shape optional BlobShape 7, data repeated float 5, double_data repeated double 8, num optional int32 1,
  channels optional int32 2, height optional int32 3, width optional int32 4
V1LayerParameter: name optional string 4, type optional int32 5, blobs repeated BlobProto 6
LayerParameter: name optional string 1, type optional string 2, blobs repeated BlobProto 7
NetParameter: name optional string 1, layers repeated V1LayerParameter 2, layer repeated LayerParameter 100
"""


def schema() -> dict[str, Any]:
    """The classes of the messages, by name."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for line in SCHEMA.replace(",\n ", ",").strip().splitlines():
        name, _, fields = line.partition(": ")
        message = file.message_type.add(name=name)
        for text in fields.split(", "):
            field, label, kind, number = text.split()
            added = message.field.add(name=field, number=int(number))
            added.label = Field.LABEL_REPEATED if label == "repeated" else Field.LABEL_OPTIONAL
            if kind in TYPES:
                added.type = TYPES[kind]
                added.options.packed = label == "repeated" and kind != "string"
            else:
                added.type, added.type_name = Field.TYPE_MESSAGE, f".caffe.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [message.name for message in file.message_type]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in names}
