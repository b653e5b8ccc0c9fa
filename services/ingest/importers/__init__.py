"""Readers of public file formats, one a file, all of the shape of `base.Importer`."""
