"""Files that clients upload: by content, and grouped into mounts."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from grpclib import GRPCError, Status
from modal_proto import api_pb2


class Files:
    """Contents by their SHA-256 in a directory; mounts, which name contents; blobs, for what is too big for a call."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._mounts: dict[str, Sequence[api_pb2.MountFile]] = {}
        self._uploads: dict[str, str] = {}
        self.url = ""
        """Where blobs are put, without the slash at the end."""

    async def MountBatchedCheckExistence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        """Which contents are not here."""
        missing = [each for each in request.sha256_hex_hashes if not (self._store / each).exists()]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def MountPutFile(self, request: api_pb2.MountPutFileRequest) -> api_pb2.MountPutFileResponse:
        """Keep a content, sent with the call or as a blob before."""
        if request.data_blob_id:
            # The names of contents and of blobs are the same thing here.
            return api_pb2.MountPutFileResponse(exists=(self._store / request.sha256_hex).exists())
        self._keep(request.sha256_hex, request.data)
        return api_pb2.MountPutFileResponse(exists=True)

    async def MountGetOrCreate(self, request: api_pb2.MountGetOrCreateRequest) -> api_pb2.MountGetOrCreateResponse:
        """A mount of the given files; one that Modal itself publishes under a name is empty here."""
        listing = sorted(f"{each.filename}\0{each.sha256_hex}\0{each.mode}" for each in request.files)
        checksum = hashlib.sha256("\n".join([request.deployment_name, *listing]).encode()).hexdigest()
        mount_id = f"mo-{checksum[:22]}"
        self._mounts[mount_id] = list(request.files)
        metadata = api_pb2.MountHandleMetadata(content_checksum_sha256_hex=checksum)
        return api_pb2.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=metadata)

    async def BlobCreate(self, request: api_pb2.BlobCreateRequest) -> api_pb2.BlobCreateResponse:
        """Where to put a blob."""
        blob = base64.b64decode(request.content_sha256_base64).hex()
        urls = api_pb2.UploadUrlList(items=[f"{self.url}/blobs/{blob}"])
        return api_pb2.BlobCreateResponse(blob_id=blob, blob_ids=[blob], upload_urls=urls)

    def keep_blob(self, blob: str, data: bytes) -> str:
        """Keep what was put under the address of `BlobCreate`; its MD5, in hex, is the answer's ETag.

        Raises:
            ValueError: the content is not the one that was announced.
        """
        self._keep(blob, data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    async def extract(self, mount_ids: Sequence[str], directory: Path) -> None:
        """Write the files of some mounts below `directory`, each at its own absolute path.

        Raises:
            GRPCError: NOT_FOUND for a mount that does not exist.
        """
        files: list[api_pb2.MountFile] = []
        for mount_id in mount_ids:
            if mount_id not in self._mounts:
                raise GRPCError(Status.NOT_FOUND, f"Mount {mount_id} not found")
            files += self._mounts[mount_id]
        await asyncio.to_thread(self._extract, files, directory)

    def _extract(self, files: Sequence[api_pb2.MountFile], directory: Path) -> None:
        for file in files:
            path = directory / file.filename.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._store / file.sha256_hex, path)
            path.chmod(file.mode & 0o7777 if file.mode else 0o644)

    def _keep(self, name: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != name:
            raise ValueError(f"the content is not that of {name}")
        (self._store / name).write_bytes(data)
