"""The offline store through Feast: `reader.OfflineReader`. What is here takes seconds to import.

Nothing is imported in this file: the online package needs `store`, and `reader` needs the online package.
"""
