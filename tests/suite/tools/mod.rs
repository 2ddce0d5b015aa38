// SPDX-License-Identifier: Apache-2.0
//! Single tools, mainly with valid and invalid input, and the behaviour common to all tools.

mod build_config;
mod build_config_schema1;
mod build_config_schema1_ids;
mod build_index;
mod build_manifest;
mod contract;
mod delete_manifest;
mod detect_mediatype;
mod failed_blobs;
mod failed_lines;
mod fetch_blob;
mod fetch_blob_disk;
mod fetch_blob_early;
mod fetch_blob_races;
mod fetch_blob_resume;
mod fetch_manifest;
mod fetch_manifest_if_changed;
mod fetch_manifest_index;
mod fetch_manifest_kept;
mod fetch_manifest_moves;
mod fetch_token;
mod foreign_layers;
mod known_names;
mod known_options;
mod layout_blobs;
mod list_blobs;
mod list_blobs_diff_ids;
mod list_layer;
mod list_layer_extract;
mod list_layer_image;
mod list_layer_markers;
mod list_referrers;
mod list_referrers_in_layouts;
mod list_repositories;
mod list_tags;
mod list_tags_pages;
mod malformed_digests;
mod many_manifests;
mod many_referrers;
mod named_inputs;
mod non_distributable;
mod null_members;
mod one_meaning;
mod pack_layer;
mod pack_layer_capabilities;
mod pack_layer_changes;
mod pack_layer_outputs;
mod partial_files;
mod platforms;
mod probe_registry;
mod probe_registry_write;
mod put_manifest;
mod put_manifest_data;
mod put_manifest_names;
mod put_manifest_subject;
mod repair_hints;
mod schema1;
mod stores;
mod sweep_layout;
mod sweep_layout_in_use;
mod terminal_lines;
mod unknown_documents;
mod verify_digest;

#[path = "."]
mod with_peers {
    mod fetch_blob_calls;
    mod referrers_in_registries;
}
