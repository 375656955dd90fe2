"""A workflow for Nextflow of every module, with its settings, to be filled in."""

ALL = """
include { DNAMDLM_EMBED ; DNAMDLM_EMBED as EMBED_WHOLE } from 'MODULES/embed/main'
include { DNAMDLM_TRACKS ; DNAMDLM_TRACKS as TRACKS_WHOLE } from 'MODULES/tracks/main'
include { DNAMDLM_TRAIN } from 'MODULES/train/main'
include { DNAMDLM_SCORE } from 'MODULES/score/main'
include { DNAMDLM_GATHER as GATHER_EMBED } from 'MODULES/gather/main'
include { DNAMDLM_GATHER as GATHER_TRACKS } from 'MODULES/gather/main'

workflow {
    def genome = file(params.fasta)
    def model = file(params.model)
    shards = channel.of('3/4', '1/4', '4/4', '2/4')
    DNAMDLM_EMBED(shards.map { shard -> [ [ id: 'o' ], genome, [], shard ] }, model)
    EMBED_WHOLE([ [ id: 'o' ], genome, [], '' ], model)
    GATHER_EMBED(DNAMDLM_EMBED.out.parts.groupTuple(size: 4))
    DNAMDLM_TRACKS(shards.map { shard -> [ [ id: 'o' ], genome, [], [], shard ] }, model)
    TRACKS_WHOLE([ [ id: 'o' ], genome, [], [], '' ], model)
    GATHER_TRACKS(DNAMDLM_TRACKS.out.parts.groupTuple(size: 4))
    DNAMDLM_TRAIN([ [ id: 'trained' ], genome, [] ])
    variants = [ [ id: 'o' ], file(params.variants), [], '' ]
    trained = DNAMDLM_TRAIN.out.run.map { _meta, run -> run }
    DNAMDLM_SCORE(variants, [ [ id: 'genome' ], genome ], trained)
    versions = channel.topic('versions').map { _process, tool, version -> "${tool} ${version}" }
    versions.unique().view()
}
"""

ALL_SETTINGS = """
process {
    cpus = 1
    publishDir = [ path: { "${params.outdir}/${task.process}" }, mode: 'copy' ]
    withName: 'DNAMDLM_EMBED|EMBED_WHOLE' { ext.args = 'batch_size=4 part_rows=1' }
    withName: 'DNAMDLM_TRACKS|TRACKS_WHOLE' {
        ext.args = 'batch_size=2 stride=2 part_rows=1 data.annotation=null'
    }
    withName: 'DNAMDLM_TRAIN' { ext.args = 'TRAINING' }
    withName: 'DNAMDLM_SCORE' { ext.args = 'scores=[llr]' }
}
"""
