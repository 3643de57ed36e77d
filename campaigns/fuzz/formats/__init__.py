"""The formats of the fuzz campaign: a file each, and a line each here."""

from campaigns.fuzz.format import Format
from campaigns.fuzz.formats import (
    archives,
    arrow,
    avif,
    checkpoint,
    cifar,
    http,
    index,
    jpeg,
    jpeg_structure,
    labels,
    meta_mat,
    npy,
    parquet,
    png,
    results,
    rows,
    run_json,
    store_json,
    tables,
    tar,
    webdataset,
    webp_gif_bmp,
    weights,
)

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        jpeg.FORMAT,
        jpeg_structure.FORMAT,
        png.FORMAT,
        webp_gif_bmp.FORMAT,
        avif.FORMAT,
        tar.FORMAT,
        meta_mat.FORMAT,
        parquet.FORMAT,
        arrow.FORMAT,
        store_json.FORMAT,
        npy.FORMAT,
        checkpoint.FORMAT,
        labels.FORMAT,
        run_json.FORMAT,
        tables.FORMAT,
        webdataset.FORMAT,
        cifar.FORMAT,
        weights.FORMAT,
        archives.FORMAT,
        http.FORMAT,
        rows.FORMAT,
        index.FORMAT,
        results.FORMAT,
    )
}
