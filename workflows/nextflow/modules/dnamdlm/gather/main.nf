process DNAMDLM_GATHER {
    tag "$meta.id"
    label 'process_single'

    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(parts, stageAs: 'shard?/*')

    output:
    tuple val(meta), path("joined/*"), emit: joined
    tuple val("${task.process}"), val('dnamdlm'), eval("dnamdlm --version | sed 's/dnamdlm //'"), topic: versions, emit: versions_dnamdlm

    when:
    task.ext.when == null || task.ext.when

    script:
    """
    shopt -s nullglob
    found=( shard*/*.parts )
    name=\$(basename \${found[0]} .parts)
    mkdir -p joined/\$name.parts
    for folder in "\${found[@]}"; do
        cp \$folder/manifest.json \$folder/part-* joined/\$name.parts/
    done
    dnamdlm gather out=joined/\$name
    """

    stub:
    """
    found=( shard*/*.parts )
    name=\$(basename \${found[0]} .parts)
    mkdir -p joined
    touch joined/\$name
    """
}
